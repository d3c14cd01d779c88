package davserver

import "encoding/xml"

// The XML namespaces that we write with a prefix, declared at every root.
const (
	nsDAV   = "DAV:"
	nsCal   = "urn:ietf:params:xml:ns:caldav"
	nsCS    = "http://calendarserver.org/ns/"
	nsApple = "http://apple.com/ns/ical/"
	nsXML   = "http://www.w3.org/XML/1998/namespace"
)

var prefixes = map[string]string{nsDAV: "D", nsCal: "C", nsCS: "CS", nsApple: "A"}

const declarations = ` xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CS="http://calendarserver.org/ns/" xmlns:A="http://apple.com/ns/ical/"`

func dav(local string) xml.Name   { return xml.Name{Space: nsDAV, Local: local} }
func cal(local string) xml.Name   { return xml.Name{Space: nsCal, Local: local} }
func cs(local string) xml.Name    { return xml.Name{Space: nsCS, Local: local} }
func apple(local string) xml.Name { return xml.Name{Space: nsApple, Local: local} }

// propertyKey is a property's name as a storage key has it.
func propertyKey(name xml.Name) string { return "{" + name.Space + "}" + name.Local }
