//! What a gateway says of itself: device and service descriptions (UPnP Device Architecture 1.1 section 2; WANIPConnection
//! 1.0 and 2.0, WANCommonInterfaceConfig 1.0).

use super::xml::element;

/// Where the gateway's web server is.
pub const WEB_PORT: u16 = 5000;
/// The device description.
pub const ROOT_PATH: &str = "/rootDesc.xml";
/// Where the actions of the connection go.
pub const CONNECTION_PATH: &str = "/ctl/IPConn";
/// Where the actions of the interface go.
pub const INTERFACE_PATH: &str = "/ctl/CmnIfCfg";
/// What the connection service can do.
pub const CONNECTION_SERVICE_PATH: &str = "/WANIPCn.xml";
/// What the interface service can do.
pub const INTERFACE_SERVICE_PATH: &str = "/WANCfg.xml";

/// An action: its name, what it takes, what it gives; the version of the service that brought it.
pub struct Action {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, in order.
    pub takes: &'static [&'static str],
    /// Its results, in order.
    pub gives: &'static [&'static str],
    /// The version of the service that brought it.
    pub since: u8,
}

const fn action(
    name: &'static str,
    takes: &'static [&'static str],
    gives: &'static [&'static str],
    since: u8,
) -> Action {
    Action { name, takes, gives, since }
}

const KEY: &[&str] = &["NewRemoteHost", "NewExternalPort", "NewProtocol"];
const ENTRY: &[&str] = &[
    "NewRemoteHost",
    "NewExternalPort",
    "NewProtocol",
    "NewInternalPort",
    "NewInternalClient",
    "NewEnabled",
    "NewPortMappingDescription",
    "NewLeaseDuration",
];
const REST: &[&str] =
    &["NewInternalPort", "NewInternalClient", "NewEnabled", "NewPortMappingDescription", "NewLeaseDuration"];
const RANGE: &[&str] = &["NewStartPort", "NewEndPort", "NewProtocol", "NewManage"];
const LISTED: &[&str] = &["NewStartPort", "NewEndPort", "NewProtocol", "NewManage", "NewNumberOfPorts"];

/// The actions of WANIPConnection.
pub const CONNECTION: &[Action] = &[
    action("GetConnectionTypeInfo", &[], &["NewConnectionType", "NewPossibleConnectionTypes"], 1),
    action("GetStatusInfo", &[], &["NewConnectionStatus", "NewLastConnectionError", "NewUptime"], 1),
    action("GetNATRSIPStatus", &[], &["NewRSIPAvailable", "NewNATEnabled"], 1),
    action("GetExternalIPAddress", &[], &["NewExternalIPAddress"], 1),
    action("AddPortMapping", ENTRY, &[], 1),
    action("DeletePortMapping", KEY, &[], 1),
    action("GetGenericPortMappingEntry", &["NewPortMappingIndex"], ENTRY, 1),
    action("GetSpecificPortMappingEntry", KEY, REST, 1),
    action("AddAnyPortMapping", ENTRY, &["NewReservedPort"], 2),
    action("DeletePortMappingRange", RANGE, &[], 2),
    action("GetListOfPortMappings", LISTED, &["NewPortListing"], 2),
];

/// The actions of WANCommonInterfaceConfig.
pub const INTERFACE: &[Action] = &[action(
    "GetCommonLinkProperties",
    &[],
    &["NewWANAccessType", "NewLayer1UpstreamMaxBitRate", "NewLayer1DownstreamMaxBitRate", "NewPhysicalLinkStatus"],
    1,
)];

/// The names by which a gateway is found and spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The version of the device and of its connection service.
    pub version: u8,
    /// Of the gateway, its WAN device and its connection device.
    pub uuids: [String; 3],
    /// How people call it.
    pub friendly: String,
}

impl Names {
    /// The device's type.
    pub fn device(&self, kind: &str) -> String {
        format!("urn:schemas-upnp-org:device:{kind}:{}", self.version)
    }

    /// The service's type.
    pub fn connection(&self) -> String {
        format!("urn:schemas-upnp-org:service:WANIPConnection:{}", self.version)
    }

    /// What can be searched for, with the device that answers to it.
    pub fn targets(&self) -> Vec<(String, usize)> {
        let mut targets = vec![("upnp:rootdevice".to_owned(), 0)];
        targets.extend((0..3).map(|index| (format!("uuid:{}", self.uuids[index]), index)));
        for version in 1..=self.version {
            for (kind, index) in [("InternetGatewayDevice", 0), ("WANDevice", 1), ("WANConnectionDevice", 2)] {
                targets.push((format!("urn:schemas-upnp-org:device:{kind}:{version}"), index));
            }
            targets.push((format!("urn:schemas-upnp-org:service:WANIPConnection:{version}"), 2));
        }
        targets.push((interface_service(), 1));
        targets
    }

    /// What a target is called by the device that answers to it.
    pub fn usn(&self, target: &str, index: usize) -> String {
        let uuid = format!("uuid:{}", self.uuids[index]);
        if target == uuid { uuid } else { format!("{uuid}::{target}") }
    }

    /// The device description.
    pub fn root(&self) -> String {
        let inner = self.device_xml(
            "WANConnectionDevice",
            2,
            &service(&self.connection(), "WANIPConn1", CONNECTION_SERVICE_PATH, CONNECTION_PATH),
            "",
        );
        let interface = service(&interface_service(), "WANCommonIFC1", INTERFACE_SERVICE_PATH, INTERFACE_PATH);
        let middle = self.device_xml("WANDevice", 1, &interface, &inner);
        let outer = self.device_xml("InternetGatewayDevice", 0, "", &middle);
        format!(
            "<?xml version=\"1.0\"?>\n<root xmlns=\"urn:schemas-upnp-org:device-1-0\"><specVersion><major>1</major>\
             <minor>{}</minor></specVersion>{outer}</root>\n",
            u8::from(self.version > 1),
        )
    }

    fn device_xml(&self, kind: &str, index: usize, services: &str, devices: &str) -> String {
        let list = |name: &str, inner: &str| match inner {
            "" => String::new(),
            _ => format!("<{name}>{inner}</{name}>"),
        };
        let fields = [
            element("deviceType", &self.device(kind)),
            element("friendlyName", &self.friendly),
            element("manufacturer", "natbox"),
            element("modelDescription", "a gateway of a natbox lab"),
            element("modelName", "natbox"),
            element("modelNumber", "1"),
            element("UDN", &format!("uuid:{}", self.uuids[index])),
        ];
        format!("<device>{}{}{}</device>", fields.concat(), list("serviceList", services), list("deviceList", devices))
    }
}

/// The type of the interface service.
pub fn interface_service() -> String {
    "urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1".to_owned()
}

fn service(kind: &str, id: &str, description: &str, control: &str) -> String {
    let fields = [
        element("serviceType", kind),
        element("serviceId", &format!("urn:upnp-org:serviceId:{id}")),
        element("SCPDURL", description),
        element("controlURL", control),
        // Every service has one by its schema; nothing is told there.
        element("eventSubURL", "/evt"),
    ];
    format!("<service>{}</service>", fields.concat())
}

/// A service description: its actions, and the variables that stand behind their arguments.
pub fn service_description(actions: &[Action], version: u8) -> String {
    let actions: Vec<&Action> = actions.iter().filter(|action| action.since <= version).collect();
    let mut variables: Vec<&str> = Vec::new();
    let mut list = String::new();
    for action in actions {
        let mut arguments = String::new();
        for (direction, names) in [("in", action.takes), ("out", action.gives)] {
            for name in names {
                let variable = name.trim_start_matches("New");
                if !variables.contains(&variable) {
                    variables.push(variable);
                }
                let fields =
                    [element("name", name), element("direction", direction), element("relatedStateVariable", variable)];
                arguments += &format!("<argument>{}</argument>", fields.concat());
            }
        }
        let arguments =
            if arguments.is_empty() { arguments } else { format!("<argumentList>{arguments}</argumentList>") };
        list += &format!("<action>{}{arguments}</action>", element("name", action.name));
    }
    let kind = |name: &str| match name {
        "ExternalPort" | "InternalPort" | "ReservedPort" | "StartPort" | "EndPort" | "PortMappingIndex" => "ui2",
        "LeaseDuration" | "Uptime" | "NumberOfPorts" => "ui4",
        "Enabled" | "Manage" | "RSIPAvailable" | "NATEnabled" => "boolean",
        _ => "string",
    };
    let variables: String = variables
        .into_iter()
        .map(|name| {
            let fields = [element("name", name), element("dataType", kind(name))].concat();
            format!("<stateVariable sendEvents=\"no\">{fields}</stateVariable>")
        })
        .collect();
    format!(
        "<?xml version=\"1.0\"?>\n<scpd xmlns=\"urn:schemas-upnp-org:service-1-0\"><specVersion><major>1</major>\
         <minor>0</minor></specVersion><actionList>{list}</actionList><serviceStateTable>{variables}\
         </serviceStateTable></scpd>\n"
    )
}
