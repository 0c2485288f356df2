//! The path of a URL, as filters mean it.

/// The path of a URL, decoded and without the query; none where the URL cannot be read.
pub fn path(url: &str) -> Option<String> {
    if url == "*" {
        return Some(url.to_owned());
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest
            .find(['/', '?'])
            .and_then(|at| rest.get(at..))
            .unwrap_or_default(),
        None if url.starts_with('/') => url,
        // `host:port`, which CONNECT asks for, has no path.
        None => return url.contains(':').then(String::new),
    };
    decoded(path.split('?').next().unwrap_or_default())
}

/// Without percent encoding (RFC 3986 §2.1); none where that is broken.
fn decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_number)?);
            rest = behind.get(2..)?;
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_and_has_no_query() {
        for (url, expected) in [
            ("http://cart:8080/items/7?full=1", Some("/items/7")),
            ("http://cart", Some("")),
            ("http://cart?a=/b", Some("")),
            ("/a%20b?c", Some("/a b")),
            ("*", Some("*")),
            ("cart:8080", Some("")),
            ("http://cart/a%2", None),
            ("http://cart/a%+1", None),
            ("items", None),
        ] {
            assert_eq!(path(url).as_deref(), expected, "{url}");
        }
    }
}
