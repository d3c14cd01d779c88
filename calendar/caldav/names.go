package caldav

import "encoding/xml"

// Namespace is the XML namespace of the properties that this program adds to
// calendars: calendar-category and calendar-focus-priority. A server keeps them
// as dead properties (RFC 4918, section 4.3).
const Namespace = "https://github.com/perdure/perdure/ns/calendar"

// Namespaces of the properties and reports that are read and written here.
// Nextcloud's own is ".com"; the ".org" that it declares in its answers names nothing.
const (
	nsDAV       = "DAV:"
	nsCalDAV    = "urn:ietf:params:xml:ns:caldav"
	nsCS        = "http://calendarserver.org/ns/"
	nsApple     = "http://apple.com/ns/ical/"
	nsOwncloud  = "http://owncloud.org/ns"
	nsNextcloud = "http://nextcloud.com/ns"
	nsSabre     = "http://sabredav.org/ns"
)

// prefixes are those of the requests we write. Each document declares all of them.
var prefixes = map[string]string{
	nsDAV:       "d",
	nsCalDAV:    "c",
	nsCS:        "cs",
	nsApple:     "a",
	nsOwncloud:  "oc",
	nsNextcloud: "nc",
	Namespace:   "p",
}

func dav(local string) xml.Name    { return xml.Name{Space: nsDAV, Local: local} }
func caldav(local string) xml.Name { return xml.Name{Space: nsCalDAV, Local: local} }

// Properties by name.
var (
	propResourceType = dav("resourcetype")
	propDisplayName  = dav("displayname")
	propETag         = dav("getetag")
	propSyncToken    = dav("sync-token")
	propPrivileges   = dav("current-user-privilege-set")
	propOwner        = dav("owner")
	propPrincipal    = dav("current-user-principal")
	propReports      = dav("supported-report-set")

	propHomeSet     = caldav("calendar-home-set")
	propAddresses   = caldav("calendar-user-address-set")
	propDescription = caldav("calendar-description")
	propTimezone    = caldav("calendar-timezone")
	propTimezoneID  = caldav("calendar-timezone-id")
	propComponents  = caldav("supported-calendar-component-set")
	propMaxSize     = caldav("max-resource-size")
	propTransparent = caldav("schedule-calendar-transp")
	propData        = caldav("calendar-data")

	propCTag      = xml.Name{Space: nsCS, Local: "getctag"}
	propColor     = xml.Name{Space: nsApple, Local: "calendar-color"}
	propOrder     = xml.Name{Space: nsApple, Local: "calendar-order"}
	propReadOnly  = xml.Name{Space: nsOwncloud, Local: "read-only"}
	propInvite    = xml.Name{Space: nsOwncloud, Local: "invite"}
	propOCOwner   = xml.Name{Space: nsOwncloud, Local: "owner-principal"}
	propOwnerName = xml.Name{Space: nsNextcloud, Local: "owner-displayname"}

	propCategory   = xml.Name{Space: Namespace, Local: "calendar-category"}
	propPriority   = xml.Name{Space: Namespace, Local: "calendar-focus-priority"}
	propOCCategory = xml.Name{Space: nsOwncloud, Local: "calendar-category"}
	propOCPriority = xml.Name{Space: nsOwncloud, Local: "calendar-focus-priority"}
)
