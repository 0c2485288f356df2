//! A client that sees what is on the wire.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail};
use apiserver_double::Double;
use serde_json::{Value, json};

/// An answer, and its body as it comes.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: String,
    stream: BufReader<TcpStream>,
    is_chunked: bool,
    length: usize,
    rest: Vec<u8>,
}

/// Sends a request on a connection of its own.
pub(crate) fn send(
    double: &Double,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(double.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: double\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n")?;
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    Answer::read(stream)
}

impl Answer {
    fn read(stream: TcpStream) -> anyhow::Result<Self> {
        let mut stream = BufReader::new(stream);
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            if stream.read_line(&mut headers)? == 0 {
                bail!("closed: {headers}");
            }
        }
        let code = headers
            .split(' ')
            .nth(1)
            .context("a status line")?
            .parse()?;
        let headers = headers.to_lowercase();
        let length = headers
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(Ok(0), str::parse)?;
        Ok(Self {
            code,
            is_chunked: headers.contains("transfer-encoding: chunked"),
            headers,
            stream,
            length,
            rest: Vec::new(),
        })
    }

    /// More bytes of the body; none where it has ended.
    fn more(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let length = if self.is_chunked {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                bail!("cut off");
            }
            usize::from_str_radix(line.trim(), 16)?
        } else {
            std::mem::take(&mut self.length)
        };
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        if self.is_chunked {
            let mut end = [0; 2];
            self.stream.read_exact(&mut end)?;
        }
        Ok((length > 0).then_some(bytes))
    }

    /// Whether nothing has come, and the connection is open all the same.
    pub(crate) fn is_silent(&mut self) -> anyhow::Result<bool> {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true)?;
        let found = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        Ok(found.is_err_and(|error| error.kind() == ErrorKind::WouldBlock))
    }

    /// All that is left.
    pub(crate) fn body(mut self) -> anyhow::Result<String> {
        while let Some(bytes) = self.more()? {
            self.rest.extend(bytes);
        }
        Ok(String::from_utf8(self.rest)?)
    }

    pub(crate) fn json(self) -> anyhow::Result<Value> {
        let body = self.body()?;
        serde_json::from_str(&body).with_context(|| body)
    }

    /// The next line of a watch; none where it has ended.
    pub(crate) fn line(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Some(String::from_utf8(line)?.trim_end().to_owned()));
            }
            match self.more()? {
                Some(bytes) => self.rest.extend(bytes),
                None => return Ok(None),
            }
        }
    }

    /// The next event of a watch: its type and object.
    pub(crate) fn event(&mut self) -> anyhow::Result<(String, Value)> {
        let line = self.line()?.context("the watch has ended")?;
        let mut event: Value = serde_json::from_str(&line).with_context(|| line)?;
        let kind = at(&event, "/type").to_owned();
        Ok((
            kind,
            event.pointer_mut("/object").context("an object")?.take(),
        ))
    }

    /// The next event: its type and the object's name.
    pub(crate) fn told(&mut self) -> anyhow::Result<String> {
        let (kind, object) = self.event()?;
        Ok(format!("{kind} {}", at(&object, "/metadata/name")))
    }
}

pub(crate) fn get(double: &Double, path: &str) -> anyhow::Result<Value> {
    let answer = send(double, "GET", path, &[], "")?;
    let code = answer.code;
    let object = answer.json()?;
    anyhow::ensure!(code == 200, "{path}: {object}");
    Ok(object)
}

pub(crate) fn watch(double: &Double, path: &str) -> anyhow::Result<Answer> {
    let answer = send(double, "GET", path, &[], "")?;
    anyhow::ensure!(answer.code == 200, "{path}: {}", answer.body()?);
    Ok(answer)
}

/// A write: the status code, and what was answered.
pub(crate) fn write(
    double: &Double,
    method: &str,
    path: &str,
    body: &Value,
) -> anyhow::Result<(u16, Value)> {
    write_as(double, method, path, "application/json", body)
}

pub(crate) fn write_as(
    double: &Double,
    method: &str,
    path: &str,
    form: &str,
    body: &Value,
) -> anyhow::Result<(u16, Value)> {
    let headers = [("Content-Type", form), ("User-Agent", "tester/1")];
    let answer = send(double, method, path, &headers, &body.to_string())?;
    Ok((answer.code, answer.json()?))
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default" },
        "data": { "value": value },
    })
}

pub(crate) fn pod(name: &str, app: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": app } },
        "spec": { "nodeName": node, "containers": [{ "name": "c", "image": "i" }] },
        "status": { "phase": "Running", "podIP": "10.0.0.1" },
    })
}

/// A definition of a kind as Cilium's are: namespaced, with a status of its own.
pub(crate) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "ciliumnetworkpolicies.cilium.io" },
        "spec": {
            "group": "cilium.io", "scope": "Namespaced",
            "names": { "plural": "ciliumnetworkpolicies", "kind": "CiliumNetworkPolicy", "shortNames": ["cnp"] },
            "versions": [{
                "name": "v2", "served": true, "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    { "name": "Valid", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Valid')].status" },
                ],
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                    "status": { "type": "object", "properties": { "conditions": {
                        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                        "items": { "type": "object", "properties": { "type": { "type": "string" } } },
                    }}},
                }}},
            }],
        },
    })
}

pub(crate) const POLICIES: &str = "/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies";

pub(crate) fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "endpointSelector": {} },
    })
}

/// The text at a place.
pub(crate) fn at<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or("-")
}
