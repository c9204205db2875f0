//! The examples of the RFCs and XEPs, read from the folder that `XMPP_SPECS` names.
use super::*;

#[derive(Debug)]
struct Example {
    label: String,
    kind: String,
    ns: String,
    /// Prefix declarations around it, as attributes.
    decl: String,
    xml: String,
}

fn examples(file: &str) -> Option<Vec<Example>> {
    let Some(folder) = std::env::var_os("XMPP_SPECS") else {
        println!("XMPP_SPECS is not set: examples of {file} not read");
        return None;
    };
    let text = std::fs::read_to_string(std::path::Path::new(&folder).join(file)).unwrap();
    let rows = text.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let decl = row["decl"].as_object().into_iter().flatten();
        let decl = decl.filter(|(p, _)| !p.is_empty() && *p != "stream" && *p != "xml");
        Example {
            label: format!("{} {} {} {:?}", field("xep"), row["index"], row["part"], field("reason")),
            kind: field("kind"),
            ns: field("ns"),
            decl: decl.map(|(p, ns)| format!(" xmlns:{p}='{}'", ns.as_str().unwrap_or_default())).collect(),
            xml: field("xml"),
        }
    });
    Some(rows.collect())
}

fn header(example: &Example) -> String {
    format!("<stream:stream xmlns='{}' xmlns:stream='{}'{}>", example.ns, ns::STREAMS, example.decl)
}

fn scanned(example: &Example) -> Result<Vec<Stanza>, XmlError> {
    let mut scanner = Scanner::new(XmlLimits::default());
    let text = header(example) + &example.xml;
    let mut input = text.as_bytes();
    let mut found = Vec::new();
    while let Some(event) = scanner.scan(&mut input)? {
        if let Event::Stanza(s) = event {
            found.push(s);
        }
    }
    if scanner.is_idle() { Ok(found) } else { Err(XmlError::NotWellFormed("the unit goes on")) }
}

#[test]
fn every_example_scans_and_round_trips() {
    let mut count = 0;
    for file in ["rfc-examples.jsonl", "xep-examples.jsonl"] {
        let Some(examples) = examples(file) else { return };
        for example in &examples {
            let label = &example.label;
            match example.kind.as_str() {
                "header" => {
                    // Some are shown without the declarations that are around them.
                    let bound = format!(" xmlns:stream='{}'", ns::STREAMS);
                    let missing = if example.xml.contains("xmlns:stream=") { "" } else { &bound };
                    let end = example.xml.rfind('>').unwrap();
                    let seen = whole(format!("{}{missing}{}>", &example.xml[..end], example.decl).as_bytes());
                    assert!(matches!(seen[..], [Seen::Open(_)]), "{label}: {seen:?}");
                    continue;
                }
                "footer" => continue,
                _ => {}
            }
            let found = scanned(example).unwrap_or_else(|e| panic!("{label}: {e}: {}", example.xml));
            let [stanza] = found.as_slice() else { panic!("{label}: {} elements", found.len()) };
            let seen = tree(stanza.root());
            let stream = format!("{}{}</stream:stream>", header(example), example.xml);
            assert_eq!(oracles::roxmltree(&stream).as_deref(), Ok(&[seen.clone()][..]), "{label}");
            assert_eq!(oracles::rxml(&stream).as_deref(), Ok(&[seen.clone()][..]), "{label}");
            assert_eq!(tree(stanza.rewrite(&example.ns).to_stanza().root()), seen, "{label}");
            let mut writer = Writer::new(&example.ns);
            writer.element(stanza.root());
            assert_eq!(tree(writer.into_stanza().root()), seen, "{label}");
            #[cfg(feature = "minidom")]
            {
                assert_eq!(oracles::minidom_tree(&stanza.to_element()), seen, "{label}");
                assert_eq!(tree(Stanza::from(&stanza.to_element()).root()), seen, "{label}");
            }
            count += 1;
        }
    }
    assert!(count > 4000, "{count} examples");
}

#[test]
fn every_reject_is_refused() {
    for file in ["rfc-rejects.jsonl", "xep-rejects.jsonl"] {
        let Some(examples) = examples(file) else { return };
        for example in &examples {
            let result = if example.kind == "header" {
                match whole(example.xml.as_bytes()).pop() {
                    Some(Seen::Error(e)) => Err(e),
                    _ => Ok(Vec::new()),
                }
            } else {
                scanned(example)
            };
            // One element with nothing left over would be well-formed.
            let accepted = matches!(&result, Ok(found) if found.len() == 1 || example.kind == "header");
            assert!(!accepted, "{}: {}", example.label, example.xml);
        }
    }
}
