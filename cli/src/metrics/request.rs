//! The head of an HTTP request (RFC 9112), as much of it as one page needs.

/// What is asked for, or why it is not understood: the status that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// The page.
    Metrics,
    /// A request that is answered with this status.
    Refused(Status),
}

/// A status and its reason.
pub(super) type Status = (u16, &'static str);

pub(super) const OK: Status = (200, "OK");
pub(super) const BAD_REQUEST: Status = (400, "Bad Request");
pub(super) const NOT_FOUND: Status = (404, "Not Found");
pub(super) const NOT_ALLOWED: Status = (405, "Method Not Allowed");
pub(super) const TOO_SLOW: Status = (408, "Request Timeout");
pub(super) const TOO_LONG: Status = (431, "Request Header Fields Too Large");
pub(super) const FAILED: Status = (500, "Internal Server Error");
pub(super) const BUSY: Status = (503, "Service Unavailable");
pub(super) const VERSION: Status = (505, "HTTP Version Not Supported");

/// Reads a request as far as it has come; `None` until its head has ended. Fields and body are not looked at: the connection ends with
/// the answer.
pub(super) fn parse(bytes: &[u8]) -> Option<Request> {
    // A line may end without a carriage return (RFC 9112, 2.2).
    let end = bytes.windows(2).any(|end| end == b"\n\n") || bytes.windows(4).any(|end| end == b"\r\n\r\n");
    end.then(|| {
        let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        line_of(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

fn line_of(line: &[u8]) -> Request {
    let parts: Vec<_> = line.split(|&byte| byte == b' ').collect();
    let [method, target, version] = parts[..] else { return Request::Refused(BAD_REQUEST) };
    if method.is_empty() || !method.iter().all(u8::is_ascii_uppercase) || !target.starts_with(b"/") {
        return Request::Refused(BAD_REQUEST);
    }
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => {}
        _ if version.starts_with(b"HTTP/") => return Request::Refused(VERSION),
        _ => return Request::Refused(BAD_REQUEST),
    }
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    match (path, method) {
        (b"/metrics", b"GET") => Request::Metrics,
        (b"/metrics", _) => Request::Refused(NOT_ALLOWED),
        _ => Request::Refused(NOT_FOUND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_page_is_had_by_get() {
        let of = |line: &str| parse(format!("{line}\r\nHost: localhost\r\n\r\n").as_bytes());
        for line in ["GET /metrics HTTP/1.1", "GET /metrics?x=1 HTTP/1.0"] {
            assert_eq!(of(line), Some(Request::Metrics), "{line}");
        }
        for (line, status) in [
            ("POST /metrics HTTP/1.1", NOT_ALLOWED),
            ("GET / HTTP/1.1", NOT_FOUND),
            ("GET /metrics/ HTTP/1.1", NOT_FOUND),
            ("GET /metrics HTTP/2.0", VERSION),
            ("GET /metrics", BAD_REQUEST),
            ("GET  /metrics HTTP/1.1", BAD_REQUEST),
            ("get /metrics HTTP/1.1", BAD_REQUEST),
            ("GET metrics HTTP/1.1", BAD_REQUEST),
            ("GET /metrics SPDY", BAD_REQUEST),
            ("", BAD_REQUEST),
        ] {
            assert_eq!(of(line), Some(Request::Refused(status)), "{line}");
        }
    }

    #[test]
    fn nothing_is_understood_before_the_head_has_ended() {
        let whole = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(parse(b"GET /metrics HTTP/1.1\n\n"), Some(Request::Metrics));
    }
}
