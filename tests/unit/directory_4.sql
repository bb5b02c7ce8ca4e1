BEGIN TRANSACTION;
CREATE TABLE assignments (
	cell VARCHAR NOT NULL, 
	tenant VARCHAR NOT NULL, 
	PRIMARY KEY (cell, tenant)
)
 WITHOUT ROWID

;
INSERT INTO "assignments" VALUES('cell-1','zeta');
INSERT INTO "assignments" VALUES('cell-2','acme');
CREATE TABLE cells (
	id VARCHAR NOT NULL, 
	address VARCHAR NOT NULL, 
	port INTEGER NOT NULL, 
	region VARCHAR NOT NULL, 
	zone VARCHAR NOT NULL, 
	jurisdiction VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	weight FLOAT NOT NULL, 
	release VARCHAR NOT NULL, 
	capacity JSON NOT NULL, 
	public_url VARCHAR NOT NULL, 
	maintenance_page VARCHAR NOT NULL, 
	protocol VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "cells" VALUES('cell-1','127.0.0.1',8001,'local','','none','active',1.0,'','{"tenants": null, "rps": null, "storage_gib": null, "concurrency": null}','','','http1');
INSERT INTO "cells" VALUES('cell-2','127.0.0.1',8002,'local','','none','active',1.0,'','{"tenants": null, "rps": null, "storage_gib": null, "concurrency": null}','','','http1');
CREATE TABLE changes (
	epoch INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	"before" JSON, 
	"after" JSON
);
INSERT INTO "changes" VALUES(1,'2026-01-02T12:00:00.000+00:00','ann','fleet','shop','put',NULL,'{"name": "shop", "key_sources": [{"kind": "header", "name": "x-tenant-id", "trusted": true}], "default_pool": "default", "unknown_tenant": "hash", "missing_key": "reject", "default_cell": null, "rules": [], "retry_after_seconds": 1, "jwt": [], "policy": {}, "fail_open": "reads", "routers": 1, "health": {}, "quarantine": {"cells": [], "automatic": true, "max_tenants": 3, "seconds": 60, "cap_seconds": 3600, "forget_seconds": 7200, "hold_seconds": 600}}');
INSERT INTO "changes" VALUES(2,'2026-01-02T12:00:00.000+00:00','ann','cell','cell-1','put',NULL,'{"id": "cell-1", "address": "127.0.0.1", "port": 8001, "region": "local", "zone": "", "jurisdiction": "none", "status": "active", "weight": 1.0, "release": "", "capacity": {"tenants": null, "rps": null, "storage_gib": null, "concurrency": null}, "public_url": "", "maintenance_page": "", "protocol": "http1"}');
INSERT INTO "changes" VALUES(3,'2026-01-02T12:00:00.000+00:00','ann','cell','cell-2','put',NULL,'{"id": "cell-2", "address": "127.0.0.1", "port": 8002, "region": "local", "zone": "", "jurisdiction": "none", "status": "active", "weight": 1.0, "release": "", "capacity": {"tenants": null, "rps": null, "storage_gib": null, "concurrency": null}, "public_url": "", "maintenance_page": "", "protocol": "http1"}');
INSERT INTO "changes" VALUES(4,'2026-01-02T12:00:00.000+00:00','ann','pool','default','put',NULL,'{"name": "default", "cells": ["cell-1"], "strategy": "ring", "virtual_nodes": 150, "shard_size": null, "seed": 0, "spread": [], "max_overlap": null, "dedicated": false, "overflow": null, "policy": {}, "canary": null, "p99_objective_seconds": null}');
INSERT INTO "changes" VALUES(5,'2026-01-02T12:00:00.000+00:00','ann','pool','default','put','{"name": "default", "cells": ["cell-1"], "strategy": "ring", "virtual_nodes": 150, "shard_size": null, "seed": 0, "spread": [], "max_overlap": null, "dedicated": false, "overflow": null, "policy": {}, "canary": null, "p99_objective_seconds": null}','{"name": "default", "cells": ["cell-1", "cell-2"], "strategy": "ring", "virtual_nodes": 150, "shard_size": null, "seed": 0, "spread": [], "max_overlap": null, "dedicated": false, "overflow": null, "policy": {}, "canary": null, "p99_objective_seconds": null}');
INSERT INTO "changes" VALUES(6,'2026-01-02T12:00:00.000+00:00','bob','tenant','acme','put',NULL,'{"id": "acme", "shard": ["cell-1"], "state": "active", "pool": null, "placed_pool": "default", "tier": "", "jurisdiction": "", "attributes": {}, "load": {"tenants": 1, "rps": 0.0, "storage_gib": 0.0}, "shard_size": null, "policy": {}}');
INSERT INTO "changes" VALUES(7,'2026-01-02T12:00:00.000+00:00','bob','tenant','acme','put','{"id": "acme", "shard": ["cell-1"], "state": "active", "pool": null, "placed_pool": "default", "tier": "", "jurisdiction": "", "attributes": {}, "load": {"tenants": 1, "rps": 0.0, "storage_gib": 0.0}, "shard_size": null, "policy": {}}','{"id": "acme", "shard": ["cell-2"], "state": "active", "pool": null, "placed_pool": "default", "tier": "gold", "jurisdiction": "", "attributes": {}, "load": {"tenants": 1, "rps": 0.0, "storage_gib": 0.0}, "shard_size": null, "policy": {}}');
INSERT INTO "changes" VALUES(8,'2026-01-02T12:00:00.000+00:00','bob','tenant','zeta','put',NULL,'{"id": "zeta", "shard": ["cell-1"], "state": "active", "pool": null, "placed_pool": "default", "tier": "", "jurisdiction": "", "attributes": {}, "load": {"tenants": 1, "rps": 0.0, "storage_gib": 0.0}, "shard_size": null, "policy": {"rps": 2}}');
CREATE TABLE fleet (
	name VARCHAR NOT NULL, 
	key_sources JSON NOT NULL, 
	default_pool VARCHAR NOT NULL, 
	unknown_tenant VARCHAR NOT NULL, 
	missing_key VARCHAR NOT NULL, 
	default_cell VARCHAR, 
	rules JSON NOT NULL, 
	retry_after_seconds INTEGER NOT NULL, 
	jwt JSON NOT NULL, 
	policy JSON NOT NULL, 
	fail_open VARCHAR NOT NULL, 
	routers INTEGER NOT NULL, 
	health JSON NOT NULL, 
	quarantine JSON NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "fleet" VALUES('shop','[{"kind": "header", "name": "x-tenant-id", "trusted": true}]','default','hash','reject',NULL,'[]',1,'[]','{}','reads',1,'{}','{"cells": [], "automatic": true, "max_tenants": 3, "seconds": 60, "cap_seconds": 3600, "forget_seconds": 7200, "hold_seconds": 600}');
CREATE TABLE loads (
	cell VARCHAR NOT NULL, 
	assigned INTEGER NOT NULL, 
	tenants INTEGER NOT NULL, 
	rps_micro INTEGER NOT NULL, 
	storage_gib_micro INTEGER NOT NULL, 
	PRIMARY KEY (cell)
);
INSERT INTO "loads" VALUES('cell-1',1,1,0,0);
INSERT INTO "loads" VALUES('cell-2',1,1,0,0);
CREATE TABLE pools (
	name VARCHAR NOT NULL, 
	cells VARCHAR NOT NULL, 
	strategy VARCHAR NOT NULL, 
	virtual_nodes INTEGER NOT NULL, 
	shard_size INTEGER, 
	seed VARCHAR NOT NULL, 
	spread VARCHAR NOT NULL, 
	max_overlap INTEGER, 
	dedicated BOOLEAN NOT NULL, 
	overflow VARCHAR, 
	policy JSON NOT NULL, 
	canary JSON, 
	p99_objective_seconds FLOAT, 
	PRIMARY KEY (name)
);
INSERT INTO "pools" VALUES('default','cell-1 cell-2','ring',150,NULL,'0','',NULL,0,NULL,'{}',NULL,NULL);
CREATE TABLE publications (
	epoch INTEGER NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	at VARCHAR NOT NULL, 
	PRIMARY KEY (epoch)
);
INSERT INTO "publications" VALUES(8,'abababababababababababababababababababababababababababababababab','2026-01-02T12:00:00.000+00:00');
CREATE TABLE quarantines (
	tenant VARCHAR NOT NULL, 
	cell VARCHAR NOT NULL, 
	since VARCHAR NOT NULL, 
	until VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	figures JSON NOT NULL, 
	times INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	ended VARCHAR, 
	end_reason VARCHAR NOT NULL, 
	held_until VARCHAR, 
	PRIMARY KEY (tenant)
)
 WITHOUT ROWID

;
CREATE TABLE tenants (
	id VARCHAR NOT NULL, 
	shard VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	pool VARCHAR, 
	placed_pool VARCHAR, 
	tier VARCHAR NOT NULL, 
	jurisdiction VARCHAR NOT NULL, 
	attributes JSON NOT NULL, 
	load JSON NOT NULL, 
	shard_size INTEGER, 
	policy JSON, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
INSERT INTO "tenants" VALUES('acme','cell-2','active',NULL,'default','gold','','{}','{"tenants": 1, "rps": 0.0, "storage_gib": 0.0}',NULL,NULL);
INSERT INTO "tenants" VALUES('zeta','cell-1','active',NULL,'default','','','{}','{"tenants": 1, "rps": 0.0, "storage_gib": 0.0}',NULL,'{"rps": 2}');
CREATE INDEX tenants_by_pool ON tenants (pool) WHERE pool IS NOT NULL;
CREATE INDEX tenants_by_policy ON tenants (policy, placed_pool) WHERE policy IS NOT NULL;
CREATE INDEX tenants_by_placed_pool ON tenants (placed_pool, jurisdiction);
CREATE INDEX quarantines_that_last ON quarantines (tenant) WHERE ended IS NULL;
CREATE INDEX changes_of_the_topology ON changes (epoch) WHERE kind NOT IN ('tenant', 'table', 'quarantine');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('changes',8);
COMMIT;
PRAGMA user_version = 4;
