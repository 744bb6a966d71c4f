use super::*;
use crate::Action;

fn ask(args: Map) -> Result<Map, Failure> {
    let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
    let mut all = map! { "use_proxy" => false, "timeout" => 5 };
    all.extend(args);
    let plan = plan(Params::parse(&all)?, &host)?;
    match plan.action {
        Action::Run(apply) => apply(&host),
        _ => Ok(plan.result),
    }
}

#[test]
fn talks_to_a_service() {
    let (_server, port) = crate::http::tests::serve();
    let base = format!("http://127.0.0.1:{port}");
    let url = |path: &str| format!("{base}{path}");
    let json = ask(map! { "url" => url("/json") }).unwrap();
    assert_eq!(json["json"].get("a"), Some(&Value::list([1, 2])));
    assert_eq!((json["status"].clone(), json["changed"].clone()), (200.into(), false.into()));
    assert_eq!(json["content_type"], "application/json".into());
    assert_eq!(json["cookies"].get("s"), Some(&"1".into()));
    assert!(!json.contains_key("content"));
    let body = Value::from(map! { "k" => 1 });
    let echo = map! { "url" => url("/echo"), "method" => "post", "body" => body.clone(), "body_format" => "json", "return_content" => true };
    assert_eq!(ask(echo).unwrap()["content"], "POST {\"k\":1}  -".into());
    let form = map! { "url" => url("/echo"), "method" => "PUT", "body" => body, "body_format" => "form-urlencoded", "return_content" => true };
    assert_eq!(ask(form).unwrap()["content"], "PUT k=1  -".into());
    let error = ask(map! { "url" => url("/nope") }).unwrap_err();
    assert_eq!(error.msg, "Status code was 404 and not [200]: HTTP Error 404: Not Found");
    assert_eq!(error.result["content"], "no such page".into());
    assert!(ask(map! { "url" => url("/nope"), "status_code" => "200, 404" }).is_ok());
    // `safe` follows a GET; `none` yields the redirect itself.
    assert_eq!(ask(map! { "url" => url("/to/302") }).unwrap()["redirected"], true.into());
    let stays =
        ask(map! { "url" => url("/to/302"), "follow_redirects" => false, "status_code" => 302 }).unwrap();
    assert_eq!(stays["location"], url("/echo").into());
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(
        ask(map! { "url" => format!("http://{down}/") }).unwrap_err().result["status"],
        Value::from(-1)
    );
}

#[test]
fn writes_what_it_gets() {
    let (_server, port) = crate::http::tests::serve();
    let dir = std::env::temp_dir().join(format!("debark-uri-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let args = map! { "url" => format!("http://127.0.0.1:{port}/file"), "dest" => dir.to_str().unwrap(), "mode" => "0600" };
    let result = ask(args).unwrap();
    assert_eq!((result["changed"].clone(), result["mode"].clone()), (true.into(), "0600".into()));
    let file = dir.join("named.txt");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "content\n");
    let there = map! { "url" => format!("http://127.0.0.1:{port}/file"), "dest" => file.to_str().unwrap(), "status_code" => "200,304" };
    assert_eq!(ask(there).unwrap()["changed"], false.into());
    let skipped = map! { "url" => "http://nowhere.invalid/", "creates" => file.to_str().unwrap() };
    assert!(ask(skipped).unwrap()["stdout"].to_string().starts_with("skipped, since"));
    std::fs::remove_dir_all(&dir).unwrap();
}
