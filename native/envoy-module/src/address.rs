//! The client's address as text, as it places a request without a key.

/// The address without its port: of `192.0.2.1:443` and of `[2001:db8::1]:443` what stands before and in the brackets.
/// What has no port is left as it is.
pub fn without_port(address: &[u8]) -> &[u8] {
    if let Some(in_brackets) = address.strip_prefix(b"[") {
        let end = in_brackets.iter().position(|byte| *byte == b']');
        return &in_brackets[..end.unwrap_or(in_brackets.len())];
    }
    let mut colons = (0..address.len()).filter(|place| address[*place] == b':');
    match (colons.next(), colons.next()) {
        (Some(only), None) => &address[..only],
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn an_address_loses_its_port_and_nothing_else() {
        for (address, expected) in [
            ("192.0.2.1:443", "192.0.2.1"),
            ("192.0.2.1:0", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[::ffff:192.0.2.1]:443", "::ffff:192.0.2.1"),
            ("[::1]", "::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[::1", "::1"),
            ("/run/edge.sock", "/run/edge.sock"),
            ("", ""),
        ] {
            assert_eq!(without_port(address.as_bytes()), expected.as_bytes(), "{address}");
        }
    }
}
