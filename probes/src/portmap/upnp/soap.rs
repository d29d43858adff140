//! Actions in envelopes (UPnP Device Architecture 1.1 section 3.2), and what their error codes mean.

use super::xml::{Element, element, enclosing};

/// An action with its arguments, or its results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The action; a response has `Response` behind it.
    pub name: String,
    /// Names and values, in order.
    pub values: Vec<(String, String)>,
}

/// An error of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its code.
    pub code: u16,
    /// What it means.
    pub meaning: String,
}

/// What an envelope holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An action, or its response.
    Call(Call),
    /// An error.
    Fault(Fault),
}

const BEGIN: &str = "<?xml version=\"1.0\"?>\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
                     s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>";
/// The one value that is a document of its own.
const LISTING: &str = "NewPortListing";
const END: &str = "</s:Body></s:Envelope>\n";

impl Call {
    /// The value of this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The envelope around it. `service` is its type.
    pub fn envelope(&self, service: &str) -> String {
        let values: String = self.values.iter().map(|(name, value)| write(name, value)).collect();
        let name = &self.name;
        format!("{BEGIN}<u:{name} xmlns:u=\"{service}\">{values}</u:{name}>{END}")
    }
}

fn write(name: &str, value: &str) -> String {
    if name == LISTING { enclosing(name, value) } else { element(name, value) }
}

impl Fault {
    /// The error of this code.
    pub fn new(code: u16) -> Fault {
        Fault { code, meaning: meaning(code).to_owned() }
    }

    /// The envelope around it.
    pub fn envelope(&self) -> String {
        let (code, meaning) =
            (element("errorCode", &self.code.to_string()), element("errorDescription", &self.meaning));
        format!(
            "{BEGIN}<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>\
             <UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\">{code}{meaning}</UPnPError></detail></s:Fault>{END}"
        )
    }
}

/// Opens an envelope; `None` if it is none.
pub fn open(envelope: &[u8]) -> Option<Content> {
    let root = Element::parse(envelope).filter(|root| root.name == "Envelope")?;
    let inner = root.child("Body")?.children.first()?;
    if inner.name == "Fault" {
        let error = inner.child("detail")?.child("UPnPError")?;
        let code = error.text_of("errorCode")?.parse().ok()?;
        let meaning = error.text_of("errorDescription").unwrap_or_default().to_owned();
        return Some(Content::Fault(Fault { code, meaning }));
    }
    let values = inner.children.iter().map(|child| (child.name.clone(), child.text.clone())).collect();
    Some(Content::Call(Call { name: inner.name.clone(), values }))
}

/// What an error code means (UPnP Device Architecture 1.1 table 3-3; WANIPConnection 2.0 section 2.5).
pub fn meaning(code: u16) -> &'static str {
    match code {
        401 => "InvalidAction",
        402 => "InvalidArgs",
        501 => "ActionFailed",
        606 => "Action not authorized",
        713 => "SpecifiedArrayIndexInvalid",
        714 => "NoSuchEntryInArray",
        715 => "WildCardNotPermittedInSrcIP",
        716 => "WildCardNotPermittedInExtPort",
        718 => "ConflictInMappingEntry",
        724 => "SamePortValuesRequired",
        725 => "OnlyPermanentLeasesSupported",
        726 => "RemoteHostOnlySupportsWildcard",
        727 => "ExternalPortOnlySupportsWildcard",
        728 => "NoPortMapsAvailable",
        729 => "ConflictWithOtherMechanisms",
        730 => "PortMappingNotFound",
        732 => "WildCardNotPermittedInIntPort",
        733 => "InconsistentParameters",
        _ => "an error that UPnP-IGD does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_faults_come_out_of_their_envelopes_as_they_went_in() {
        let values = vec![("NewProtocol".to_owned(), "TCP".to_owned()), ("NewText".to_owned(), "a <b> & c".to_owned())];
        let listing = (LISTING.to_owned(), "<a>]]>&amp;</a>".to_owned());
        let values = values.into_iter().chain([listing]).collect();
        let call = Call { name: "AddPortMapping".to_owned(), values };
        assert_eq!(open(call.envelope("urn:x").as_bytes()), Some(Content::Call(call)));
        let fault = Fault::new(718);
        assert_eq!(open(fault.envelope().as_bytes()), Some(Content::Fault(fault)));
        assert_eq!(open(b"<html></html>"), None);
    }
}
