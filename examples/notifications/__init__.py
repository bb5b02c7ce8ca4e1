"""A multi-tenant notification API (push, SMS, e-mail): what one cell of a product looks like from inside."""
