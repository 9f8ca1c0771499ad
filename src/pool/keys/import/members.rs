//! Reads the lists and members of a document: which texts are in the place of a key, and their attributes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::pool::keys::import::candidates::{Collector, Piece, PieceBody, Place, Surroundings};
use crate::pool::keys::import::document::{Member, Node, NodeValue};
use crate::pool::keys::import::label::is_label;
use crate::pool::keys::import::names::{
    AttributeName, Owner, is_disabled_word, is_gemini_section, is_unspecific, is_variable,
    label_rank, names_disabled_keys, names_keys, owner, provider, provider_at,
};
use crate::pool::keys::import::shape::google_keys;
use crate::pool::keys::imported_keys::NotTakenReason;
use crate::pool::keys::upstream_key::{KeyAttributes, MAX_WEIGHT, parse_tags};

/// Maximum length of a label or project name.
const MAX_NAME_CHARACTERS: usize = 200;

/// Adds the texts of a document as pieces. `depth` is that of the document.
pub fn read(node: &Node, around: &Surroundings, depth: usize, found: &mut Collector) {
    match &node.value {
        NodeValue::Text(text) | NodeValue::Block(text) => found.add_piece(Piece {
            body: PieceBody::Text(text.clone()),
            line: node.line,
            surroundings: around.clone(),
            depth: depth + 1,
            lists_rest: false,
            spans_lines: matches!(node.value, NodeValue::Block(_)),
        }),
        NodeValue::List(items) => {
            for item in items {
                read(item, around, depth, found);
            }
        }
        NodeValue::Members(members) => {
            for record in records(members) {
                read_object(record, around, depth, found);
            }
        }
    }
}

/// Splits members where a name repeats: `name: a`, `key: x`, `name: b`, `key: y` are two objects.
fn records(members: &[Member]) -> impl Iterator<Item = &[Member]> {
    let mut rest = members;
    std::iter::from_fn(move || {
        let is_repeated = |end: &usize| {
            rest[..*end]
                .iter()
                .any(|other| other.name == rest[*end].name)
        };
        // Only objects of a few members repeat; a large one has unique names.
        let end = (1..rest.len().min(32))
            .find(is_repeated)
            .unwrap_or(rest.len());
        let (record, after) = rest.split_at(end);
        rest = after;
        (!record.is_empty()).then_some(record)
    })
}

/// What the members of an object say about each other.
struct Object {
    /// Whether a member is named as keys are.
    has_named_keys: bool,
    /// Whether it contains keys itself, so that its other members are their attributes.
    has_keys: bool,
    /// The provider that a member names.
    provider: Option<Owner>,
}

impl Object {
    fn of(members: &[Member]) -> Self {
        let has_key = |member: &Member| {
            let text = member.node.as_text();
            AttributeName::read(&member.name).is_none()
                && text.is_some_and(|text| !google_keys(text).is_empty())
        };
        let has_named_keys = members.iter().any(|member| names_keys(&member.name));
        Self {
            has_named_keys,
            has_keys: has_named_keys || members.iter().any(has_key),
            provider: provider_beside(members),
        }
    }
}

fn read_object(members: &[Member], around: &Surroundings, depth: usize, found: &mut Collector) {
    let object = Object::of(members);
    if let Some((name, value)) = named_value(members) {
        read_member(name, value, &object, around, depth, found);
        return;
    }
    let own = if object.has_keys {
        with_attributes(members, around, found)
    } else {
        around.clone()
    };
    let is_secret = text_of(members, "kind") == Some("Secret");
    let disabled = disabled_keys(members);
    for member in members {
        let is_attribute = object.has_keys && AttributeName::read(&member.name).is_some();
        let text = member.node.as_text();
        if add_keys_in_name(member, &own, found) && text.is_some() {
            // The value is a label or a number.
        } else if let (Some(disabled), Some(text), true) =
            (&disabled, text, names_keys(&member.name))
        {
            for (number, line) in text.lines().enumerate() {
                let mut own = own.clone();
                own.is_disabled |= disabled.contains(&number.to_string());
                let node = Node::text(member.node.line, line);
                read_member(&member.name, &node, &object, &own, depth, found);
            }
        } else if is_secret && member.name == "data" {
            read(&decoded(&member.node), &own, depth, found);
        } else if !is_attribute || names_keys(&member.name) {
            read_member(&member.name, &member.node, &object, &own, depth, found);
        }
    }
}

/// Adds the keys that are the name of a member: `{"AIza…": "label"}`. Returns whether there are any.
fn add_keys_in_name(member: &Member, around: &Surroundings, found: &mut Collector) -> bool {
    let keys = google_keys(&member.name);
    if keys.is_empty() {
        return false;
    }
    let mut own = match &member.node.value {
        NodeValue::Members(members) => with_attributes(members, around, found),
        NodeValue::Text(text) if is_label(text) => {
            let mut own = around.clone();
            own.attributes.label = Some(text.trim().to_owned());
            own.group = found.new_group();
            own
        }
        NodeValue::Text(_) | NodeValue::Block(_) | NodeValue::List(_) => around.clone(),
    };
    own.place.is_in_document = false;
    for key in keys {
        found.add_google_key(key, member.line, &own);
    }
    true
}

/// The variable and the value of an object like `{"name": "API_KEYS", "value": "…"}`.
fn named_value(members: &[Member]) -> Option<(&str, &Node)> {
    let value = members
        .iter()
        .find(|member| member.name.eq_ignore_ascii_case("value"))?;
    let is_name =
        |member: &&Member| matches!(member.name.to_ascii_lowercase().as_str(), "name" | "key");
    let name = members.iter().find(is_name)?;
    let text = name.node.as_text()?.trim();
    let is_upper = !text.contains(|char: char| char.is_ascii_lowercase());
    let is_named =
        is_variable(text) && google_keys(text).is_empty() && (is_upper || names_keys(text));
    is_named.then_some((text, &value.node))
}

/// Reads a member of an object with the surroundings that its name and the other members give it.
fn read_member(
    name: &str,
    node: &Node,
    object: &Object,
    around: &Surroundings,
    depth: usize,
    found: &mut Collector,
) {
    let place = &around.place;
    let has_key_member = object.has_named_keys;
    let is_attribute = AttributeName::read(name).is_some();
    let mut own = around.clone();
    own.place = Place {
        owner: owner_of(name, node, object.provider, place.owner),
        expects_keys: names_keys(name)
            || (place.expects_keys && !place.list.is_empty() && !has_key_member && !is_attribute),
        list: format!("{}/{name}", place.list),
        is_unspecific: place.list.is_empty() && is_unspecific(name),
        is_in_document: place.is_in_document,
    };
    own.is_disabled |= names_disabled_keys(name) && node.as_text().is_none();
    let is_alone = node
        .as_text()
        .is_some_and(|text| google_keys(text) == [text.trim()] || own.place.expects_keys);
    let is_variable = !name.contains(|char: char| char.is_lowercase());
    if is_alone
        && !has_key_member
        && !is_attribute
        && !is_variable
        && owner(name) == Owner::Unnamed
        && is_label(name)
    {
        own.attributes.label = Some(name.to_owned());
        own.group = found.new_group();
    }
    read(node, &own, depth, found);
}

/// Whose keys a member contains: its own name says so, or else the provider named beside it, or else the names above.
fn owner_of(name: &str, node: &Node, provider: Option<Owner>, around: Owner) -> Owner {
    if around == Owner::Excluded {
        return around;
    }
    let own = owner(name);
    let is_text = node.as_text().is_some();
    if own == Owner::Gemini && !is_text && !names_keys(name) && !is_gemini_section(name) {
        // The name of a program, such as `gemini-balance`.
        return around;
    }
    if own != Owner::Unnamed {
        return own;
    }
    provider.unwrap_or(around)
}

/// The provider that the members of an object name.
fn provider_beside(members: &[Member]) -> Option<Owner> {
    let mut named = None;
    for member in members {
        let text = member.node.as_text().unwrap_or_default().trim();
        let name: String = member
            .name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let said = match name.to_ascii_lowercase().as_str() {
            "baseurl" | "apibase" | "apihost" | "endpoint" | "url" | "host" => {
                // Keys of a relay are not Google's, whatever it relays to.
                match provider_at(text) {
                    Some(Owner::Other) => return Some(Owner::Other),
                    said => said,
                }
            }
            // The number of Gemini among the channels of one-api and its descendants.
            "type" if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(if text == "24" {
                    Owner::Gemini
                } else {
                    Owner::Other
                })
            }
            "type" | "provider" | "vendor" | "platform" | "id" | "name" | "model" | "models"
            | "modelname" | "channeltype" => provider(text),
            _ => None,
        };
        named = match (named, said) {
            (Some(Owner::Gemini), _) | (_, Some(Owner::Gemini)) => Some(Owner::Gemini),
            (named, said) => named.or(said),
        };
    }
    named
}

/// The numbers of the disabled keys of a channel of new-api, which has a key in each line.
fn disabled_keys(members: &[Member]) -> Option<Vec<String>> {
    let info = members_of(members, "channel_info")?;
    let statuses = members_of(info, "multi_key_status_list")?;
    let disabled = statuses
        .iter()
        .filter(|status| status.node.as_text() != Some("1"));
    Some(disabled.map(|status| status.name.clone()).collect())
}

fn members_of<'m>(members: &'m [Member], name: &str) -> Option<&'m [Member]> {
    match &members
        .iter()
        .find(|member| member.name == name)?
        .node
        .value
    {
        NodeValue::Members(members) => Some(members),
        NodeValue::Text(_) | NodeValue::Block(_) | NodeValue::List(_) => None,
    }
}

fn text_of<'m>(members: &'m [Member], name: &str) -> Option<&'m str> {
    members
        .iter()
        .find(|member| member.name == name)?
        .node
        .as_text()
}

/// The values of a Kubernetes secret, which are in base64.
fn decoded(data: &Node) -> Node {
    let NodeValue::Members(members) = &data.value else {
        return data.clone();
    };
    let decode = |member: &Member| {
        let bytes = STANDARD.decode(member.node.as_text()?.trim()).ok()?;
        Some(Member {
            node: Node::text(member.node.line, &String::from_utf8(bytes).ok()?),
            ..member.clone()
        })
    };
    Node {
        line: data.line,
        value: NodeValue::Members(members.iter().filter_map(decode).collect()),
    }
}

/// The surroundings of the keys of an object: its attributes, completed from `around`.
fn with_attributes(
    members: &[Member],
    around: &Surroundings,
    found: &mut Collector,
) -> Surroundings {
    let mut attributes = KeyAttributes::default();
    let mut is_disabled = None;
    let mut has_no_weight = false;
    let is_label = |member: &&Member| {
        let has_text = member
            .node
            .as_text()
            .is_some_and(|text| !text.trim().is_empty());
        has_text && AttributeName::read(&member.name) == Some(AttributeName::Label)
    };
    let labels = members.iter().filter(is_label);
    let best_rank = labels.map(|member| label_rank(&member.name)).min();
    for member in members {
        let Some(attribute) =
            AttributeName::read(&member.name).filter(|_| !names_keys(&member.name))
        else {
            continue;
        };
        let Some(text) = attribute_text(&member.node) else {
            continue;
        };
        let text = text.trim();
        let is_other_label =
            attribute == AttributeName::Label && best_rank != Some(label_rank(&member.name));
        if text.is_empty() || text == "null" || text == "~" || is_other_label {
            continue;
        }
        let is_read = match attribute {
            AttributeName::Enabled => {
                is_disabled = is_disabled.or(is_disabled_word(text));
                true
            }
            AttributeName::Disabled => {
                is_disabled = is_disabled.or(is_disabled_word(text).map(|is_no| !is_no));
                true
            }
            AttributeName::Weight if text.parse() == Ok(0.0) => {
                has_no_weight = true;
                true
            }
            AttributeName::Label
            | AttributeName::Project
            | AttributeName::Billing
            | AttributeName::Priority
            | AttributeName::Weight
            | AttributeName::Tags => set(&mut attributes, attribute, text),
        };
        if !is_read {
            found.add_not_taken(
                member.node.line,
                NotTakenReason::Attribute(attribute.text()),
                text,
            );
        }
    }
    let group = if attributes.label.is_some() {
        found.new_group()
    } else {
        around.group
    };
    Surroundings {
        place: around.place.clone(),
        attributes: attributes.or(&around.attributes),
        is_disabled: is_disabled.unwrap_or(has_no_weight || around.is_disabled),
        group,
    }
}

fn attribute_text(node: &Node) -> Option<String> {
    match &node.value {
        NodeValue::Text(text) | NodeValue::Block(text) => Some(text.clone()),
        NodeValue::List(items) => {
            let words: Vec<_> = items.iter().filter_map(Node::as_text).collect();
            Some(words.join(" "))
        }
        NodeValue::Members(_) => None,
    }
}

/// Sets an attribute that has no value yet; `false`: `text` is not valid.
fn set(attributes: &mut KeyAttributes, attribute: AttributeName, text: &str) -> bool {
    let is_name = text.chars().count() <= MAX_NAME_CHARACTERS
        && !text.contains(|char: char| char.is_control() || char == char::REPLACEMENT_CHARACTER)
        && google_keys(text).is_empty();
    let name = is_name.then(|| text.to_owned());
    let weight = text
        .parse()
        .ok()
        .filter(|weight| (1..=MAX_WEIGHT).contains(weight));
    match attribute {
        AttributeName::Label => fill(&mut attributes.label, name),
        AttributeName::Project => fill(&mut attributes.project, name),
        AttributeName::Billing => fill(&mut attributes.billing, text.parse().ok()),
        AttributeName::Priority => fill(&mut attributes.priority, text.parse().ok()),
        AttributeName::Weight => fill(&mut attributes.weight, weight),
        AttributeName::Tags => fill(&mut attributes.tags, name.map(|text| parse_tags(&text))),
        AttributeName::Enabled | AttributeName::Disabled => true,
    }
}

/// Fills an empty place; `false` if there is no value.
fn fill<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_some = value.is_some();
    if place.is_none() {
        *place = value;
    }
    is_some
}
