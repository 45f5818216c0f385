//! AWS query: forms in, XML out. No service that speaks it is built yet, so every action is
//! answered as an AWS endpoint answers one that it does not know.

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};

use crate::body::Body;
use crate::exchange::Exchange;
use crate::form::Form;

const NAMESPACE: &str = "http://webservices.amazon.com/AWSFault/2005-15-09";
/// The longest name of an action or version, in characters, that an error repeats.
const MAX_ECHO: usize = 128;

/// Answers a request that names an action, given its form.
pub(crate) fn answer(head: &Parts, form: &[u8], exchange: &Exchange) -> Response<Body> {
    let form = Form::parse(&String::from_utf8_lossy(form));
    let query = Form::parse(head.uri.query().unwrap_or_default());
    let value = |name| form.first(name).or_else(|| query.first(name));
    let Some(action) = value("Action") else {
        return error(
            StatusCode::BAD_REQUEST,
            "MissingAction",
            "The request must contain the parameter Action",
            exchange,
        );
    };
    let version = value("Version").unwrap_or("NO_VERSION_SPECIFIED");
    let message =
        format!("Could not find operation {} for version {}", echo(action), echo(version));
    error(StatusCode::BAD_REQUEST, "InvalidAction", &message, exchange)
}

fn error(
    status: StatusCode,
    code: &'static str,
    message: &str,
    exchange: &Exchange,
) -> Response<Body> {
    exchange.note(|log| log.error = Some(code));
    let request_id = exchange.id;
    let body = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\">\n  <Error>\n    <Type>Sender</Type>\n    \
         <Code>{code}</Code>\n    <Message>{}</Message>\n  </Error>\n  \
         <RequestId>{request_id}</RequestId>\n</ErrorResponse>\n",
        escape(message)
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}

/// What an error may repeat: short, and without control characters.
fn echo(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_ECHO).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_text() {
        assert_eq!(escape("<a href=\"&\">"), "&lt;a href=&quot;&amp;&quot;&gt;");
        assert_eq!(echo("a\r\nb"), "ab");
    }
}
