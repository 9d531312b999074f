//! Addresses as clients write them, and the part of them that names a node.

/// Cuts scheme, host and query off an address, and slashes at either end.
///
/// Official clients write `q1`, `/q1`, `amqps://host:port/q1` and `sb://host/q1/` for the same
/// queue; the Python ones write `amqps` even over plain TCP.
pub(crate) fn entity_path(address: &str) -> &str {
    let path = match address.split_once("://") {
        None => address,
        Some((_, rest)) => rest.split_once('/').map_or("", |(_host, path)| path),
    };
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    path.trim_matches('/')
}

#[cfg(test)]
mod tests {
    use super::entity_path;

    #[test]
    fn every_way_to_write_an_address_names_the_same_node() {
        for address in ["q1", "/q1", "q1/", "amqps://host:5671/q1", "sb://host/q1/"] {
            assert_eq!(entity_path(address), "q1");
        }
        assert_eq!(entity_path("amqp://host:1/t/Subscriptions/s"), "t/Subscriptions/s");
        assert_eq!(entity_path("sb://host"), "");
        assert_eq!(entity_path("sb://host/"), "");
    }
}
