//! Against real servers: Python's http.server in clear and under an authority made here.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_for(port: u16) {
    for _ in 0..200 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nothing listens on port {port}");
}

pub(crate) const SERVER: &str = r#"
import http.server, sys, gzip, base64
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a): pass
    def answer(self, status, body=b'', **headers):
        self.send_response(status)
        for k, v in headers.items(): self.send_header(k.replace('_', '-'), v)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(body)
    def do_GET(self):
        n = int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(n)
        p = self.path
        if p == '/echo':
            seen = self.command + ' ' + body.decode() + ' ' + (self.headers.get('X-Test') or '') + ' ' + (self.headers.get('Authorization') or '-')
            self.answer(200, seen.encode(), Content_Type='text/plain; charset=utf-8')
        elif p == '/json': self.answer(200, b'{"a": [1, 2]}', Content_Type='application/json', Set_Cookie='s=1; Path=/')
        elif p == '/gzip': self.answer(200, gzip.compress(b'packed' * 100), Content_Encoding='gzip')
        elif p.startswith('/to/'): self.answer(int(p[4:7]), b'', Location='/echo')
        elif p == '/loop': self.answer(302, b'', Location='/loop')
        elif p == '/away': self.answer(302, b'', Location='http://localhost:%d/echo' % self.server.server_port)
        elif p == '/auth':
            if self.headers.get('Authorization') == 'Basic ' + base64.b64encode(b'ann:pw').decode(): self.answer(200, b'in')
            else: self.answer(401, b'out', WWW_Authenticate='Basic realm="x"')
        elif p == '/chunked':
            self.send_response(200); self.send_header('Transfer-Encoding', 'chunked'); self.end_headers()
            for part in (b'one ', b'two'): self.wfile.write(b'%x\r\n%s\r\n' % (len(part), part))
            self.wfile.write(b'0\r\n\r\n')
        elif p == '/short':
            self.send_response(200); self.send_header('Content-Length', '100'); self.end_headers(); self.wfile.write(b'x'); self.close_connection = True
        elif p == '/file':
            if self.headers.get('If-Modified-Since'): self.answer(304)
            else: self.answer(200, b'content\n', Last_Modified='Mon, 01 Jan 2024 00:00:00 GMT', Content_Disposition='attachment; filename="named.txt"')
        elif p == '/sums': self.answer(200, b'434728a410a78f56fc1b5899c3593436e61ab0c731e9072d95e96db290205e53  ./file\n')
        else: self.answer(404, b'no such page')
    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H)
if len(sys.argv) > 2:
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// Starts the server of [`SERVER`]; it ends when the value is dropped.
pub(crate) fn serve() -> (impl Drop, u16) {
    let port = free_port();
    let child = Command::new("python3").args(["-c", SERVER, &port.to_string()]).spawn().unwrap();
    wait_for(port);
    (Server { child, port }, port)
}

fn host() -> Host {
    Host::new(std::rc::Rc::new(crate::upstream::NoUpstream))
}

fn text(url: &str, request: &Request) -> (u16, String) {
    let mut response = send(&host(), url, request).unwrap();
    let body = response.body.to_vec(1 << 20).unwrap();
    (response.status, String::from_utf8(body).unwrap())
}

#[test]
fn speaks_http() {
    let (_server, port) = serve();
    let base = format!("http://127.0.0.1:{port}");
    let get = Request { use_proxy: false, ..Request::default() };
    assert_eq!(text(&format!("{base}/gzip"), &get), (200, "packed".repeat(100)));
    assert_eq!(text(&format!("{base}/chunked"), &get), (200, "one two".into()));
    assert_eq!(text(&format!("{base}/nope"), &get), (404, "no such page".into()));
    let head = Request { method: "HEAD".into(), ..get.clone() };
    assert_eq!(text(&format!("{base}/json"), &head), (200, String::new()));
    let headers = vec![("X-Test".into(), "t".into())];
    let post = Request { method: "POST".into(), body: b"data".to_vec(), headers, ..get.clone() };
    assert_eq!(text(&format!("{base}/echo"), &post), (200, "POST data t -".into()));
    // 302 turns POST into GET, 307 does not; `safe` follows neither.
    let all = Request { follow: Follow::All, ..post.clone() };
    assert_eq!(text(&format!("{base}/to/302"), &all).1, "GET  t -");
    assert_eq!(text(&format!("{base}/to/307"), &all).1, "POST data t -");
    assert_eq!(text(&format!("{base}/to/302"), &Request { follow: Follow::Safe, ..post.clone() }).0, 302);
    let mut response = send(&host(), &format!("{base}/short"), &get).unwrap();
    assert_eq!(response.body.to_vec(1000).unwrap_err(), "the answer was cut short");
    let mut response = send(&host(), &format!("{base}/gzip"), &get).unwrap();
    assert!(response.body.to_vec(10).unwrap_err().contains("longer than 10 bytes"));
    let error = send(&host(), &format!("{base}/loop"), &get).err().unwrap();
    assert!(error.msg.ends_with("redirects in a circle"), "{}", error.msg);
    let error = send(&host(), &format!("http://127.0.0.1:{}/", free_port()), &get).err().unwrap();
    assert!(error.msg.contains("Connection refused"), "{}", error.msg);
}

#[test]
fn logins_stay_with_their_host() {
    let (_server, port) = serve();
    let base = format!("http://127.0.0.1:{port}");
    let get = Request { use_proxy: false, ..Request::default() };
    assert_eq!(text(&format!("{base}/auth"), &get).0, 401);
    let login = Request { login: Some(("ann".into(), "pw".into())), ..get.clone() };
    assert_eq!(text(&format!("{base}/auth"), &login), (200, "in".into()));
    assert_eq!(text(&format!("http://ann:pw@127.0.0.1:{port}/auth"), &get), (200, "in".into()));
    let forced = Request { force_basic_auth: true, ..login };
    assert_eq!(text(&format!("{base}/echo"), &forced).1, "GET   Basic YW5uOnB3");
    assert_eq!(text(&format!("{base}/away"), &forced).1, "GET   -");
    let smuggled = Request { headers: vec![("X".into(), "a\r\nY: b".into())], ..get };
    assert!(send(&host(), &base, &smuggled).is_err());
}

#[test]
fn waits_only_so_long() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let request = Request { use_proxy: false, timeout: Duration::from_millis(200), ..Request::default() };
    let error = send(&host(), &url, &request).err().unwrap();
    assert!(error.msg.ends_with("nothing came within the time limit"), "{}", error.msg);
}

fn openssl(dir: &Path, words: &str) {
    let output = Command::new("openssl").args(words.split(' ')).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn tls_trusts_whom_it_should() {
    let dir = std::env::temp_dir().join(format!("debark-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    openssl(
        &dir,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2",
    );
    openssl(
        &dir,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout s.key -out s.csr -subj /CN=localhost",
    );
    std::fs::write(dir.join("ext"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        &dir,
        "x509 -req -in s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out s.pem -days 2 -extfile ext",
    );
    let port = free_port();
    let child = Command::new("python3")
        .args(["-c", SERVER, &port.to_string(), "s.pem", "s.key"])
        .current_dir(&dir)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server { child, port };
    wait_for(server.port);
    let request = Request { use_proxy: false, ca_path: Some(dir.join("ca.pem")), ..Request::default() };
    let url = format!("https://localhost:{port}/json");
    assert_eq!(text(&url, &request), (200, "{\"a\": [1, 2]}".into()));
    // Letters that s_client could take as its own commands, and more than fits into one buffer.
    for body in ["Renegotiate\n".to_owned(), "Q\n".to_owned(), "Kk\n".repeat(50_000)] {
        let post = Request { method: "POST".into(), body: body.clone().into_bytes(), ..request.clone() };
        let (status, seen) = text(&format!("https://localhost:{port}/echo"), &post);
        assert_eq!((status, seen), (200, format!("POST {body}  -")));
    }
    // Another authority, then another name: refused, unless that is wished.
    let strict = Request { ca_path: None, ..request.clone() };
    let error = send(&host(), &url, &strict).err().unwrap();
    assert!(error.msg.contains("certificate is not valid"), "{}", error.msg);
    let by_address = format!("https://127.0.0.1:{port}/json");
    let error = send(&host(), &by_address, &request).err().unwrap();
    assert!(error.msg.contains("IP address mismatch"), "{}", error.msg);
    let lax = Request { validate_certs: false, ..request };
    assert_eq!(text(&by_address, &lax).0, 200);
    drop(server);
    std::fs::remove_dir_all(&dir).unwrap();
}
