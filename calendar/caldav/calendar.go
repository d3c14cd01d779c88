package caldav

import (
	"encoding/xml"
	"slices"
	"strconv"
	"strings"
)

// Calendar is a calendar collection with the properties that a server gave. Text is as the
// server stores it: a color may be "#RRGGBB", "#RRGGBBAA" or no color at all, a name may
// be empty.
type Calendar struct {
	Href        string
	DisplayName string
	Description string
	Color       string
	Order       int // 0 if the server has none

	CTag      string // changes with every change in the calendar
	SyncToken string // "" where there is no sync-collection

	Components []string // upper case, such as VEVENT; empty: all
	Timezone   string   // an iCalendar object with one VTIMEZONE
	TimezoneID string   // RFC 7809
	MaxSize    int64    // of an object, in bytes; 0 if the server doesn't say

	// Transparent says that its events do not make the user busy (RFC 6638, section 9.1).
	Transparent bool

	Privileges Privileges
	Owner      string // href of the owner's principal, canonical, or another URI
	OwnerName  string // Nextcloud's display name of the owner
	OwnerID    string // Nextcloud's principal, such as "principals/users/alice"

	// SharedToMe says that the calendar is another's, by Nextcloud's own mark.
	SharedToMe bool

	// Invites are those with whom the owner shares; Nextcloud tells the owner only.
	Invites []Invite

	// Category and FocusPriority are kept as dead properties in [Namespace]; those of
	// owncloud's namespace are read where ours are missing. 0 is none.
	Category      string
	FocusPriority int

	// Reports are the reports that the server supports here, by local name.
	Reports []string

	readOnly bool // Nextcloud's mark
}

// Invite is one with whom a calendar is shared.
type Invite struct {
	Principal string // "principal:principals/users/bob"
	Name      string
	Write     bool
}

// Privileges are the names in DAV:current-user-privilege-set (RFC 3744, section 5.5),
// without namespace. Nil means that the server has no access control.
type Privileges []string

// Has says whether a privilege is granted, by name or by DAV:write or DAV:all that contain
// it (RFC 3744, section 3.12). Without access control everything is.
func (p Privileges) Has(name string) bool {
	if p == nil || slices.Contains(p, "all") || slices.Contains(p, name) {
		return true
	}
	switch name {
	case "bind", "unbind", "write-content", "write-properties":
		return slices.Contains(p, "write")
	}
	return false
}

// ReadOnly says that the user may not change the calendar's objects. Changing its
// properties may still be allowed: a sharee's name and color are his own.
func (c *Calendar) ReadOnly() bool {
	return c.readOnly || !(c.Privileges.Has("write-content") && c.Privileges.Has("bind"))
}

// SharedWith says whether the calendar belongs to another than the given principal, as far
// as the server tells.
func (c *Calendar) SharedWith(principal string) bool {
	return c.SharedToMe || strings.HasPrefix(c.Owner, "/") && principal != "" && !SameCollection(c.Owner, principal)
}

// Supports says whether the calendar takes a component, such as VEVENT.
func (c *Calendar) Supports(component string) bool {
	return len(c.Components) == 0 || slices.Contains(c.Components, component)
}

// calendarProps are the properties that make a Calendar.
var calendarProps = []xml.Name{
	propResourceType, propDisplayName, propDescription, propColor, propOrder,
	propCTag, propSyncToken, propComponents, propTimezone, propTimezoneID, propMaxSize, propTransparent,
	propPrivileges, propOwner, propOCOwner, propOwnerName, propReadOnly, propInvite,
	propCategory, propPriority, propOCCategory, propOCPriority, propReports,
}

// isCalendar is strict: Nextcloud's subscriptions, trash and soft-deleted calendars are
// collections with another mark in place of, or besides, the calendar's.
func isCalendar(resp *response) bool {
	kind := resp.prop(propResourceType)
	return kind.kid(caldav("calendar")) != nil &&
		kind.kid(xml.Name{Space: nsNextcloud, Local: "deleted-calendar"}) == nil &&
		kind.kid(xml.Name{Space: nsCS, Local: "subscribed"}) == nil
}

// newCalendar maps the properties of the collection at href.
func (c *Client) newCalendar(href string, resp *response) Calendar {
	cal := Calendar{
		Href:          collection(href),
		DisplayName:   resp.raw(propDisplayName),
		Description:   resp.raw(propDescription),
		Color:         resp.text(propColor),
		Order:         number(resp.text(propOrder)),
		CTag:          resp.text(propCTag),
		SyncToken:     resp.text(propSyncToken),
		Timezone:      resp.raw(propTimezone),
		TimezoneID:    resp.text(propTimezoneID),
		MaxSize:       int64(number(resp.text(propMaxSize))),
		Transparent:   resp.prop(propTransparent).kid(caldav("transparent")) != nil,
		OwnerName:     resp.text(propOwnerName),
		OwnerID:       resp.text(propOCOwner),
		SharedToMe:    resp.prop(propReadOnly) != nil,
		Category:      either(resp.raw(propCategory), resp.raw(propOCCategory)),
		FocusPriority: number(either(resp.text(propPriority), resp.text(propOCPriority))),
		readOnly:      resp.text(propReadOnly) == "1",
	}
	if n := resp.prop(propComponents); n != nil {
		for _, k := range n.kids {
			if k.name == caldav("comp") {
				cal.Components = append(cal.Components, strings.ToUpper(k.attr))
			}
		}
	}
	if refs := resp.prop(propOwner).hrefs(); len(refs) > 0 {
		cal.Owner = strings.TrimSpace(refs[0])
		if path, err := c.server.origin.resolve("owner", href, refs[0]); err == nil {
			cal.Owner = path
		}
	}
	cal.Privileges = privileges(resp.prop(propPrivileges))
	cal.Invites = invites(resp.prop(propInvite))
	cal.Reports = reports(resp.prop(propReports))
	return cal
}

func privileges(n *node) Privileges {
	if n == nil {
		return nil
	}
	out := Privileges{}
	for _, p := range n.kids {
		for _, k := range p.kids {
			out = append(out, k.name.Local)
		}
	}
	return out
}

func invites(n *node) []Invite {
	if n == nil {
		return nil
	}
	oc := func(local string) xml.Name { return xml.Name{Space: nsOwncloud, Local: local} }
	var out []Invite
	for _, user := range n.kids {
		refs := user.hrefs()
		if user.name != oc("user") || len(refs) == 0 {
			continue
		}
		invite := Invite{Principal: refs[0], Write: user.kid(oc("access")).kid(oc("read-write")) != nil}
		if name := user.kid(oc("common-name")); name != nil {
			invite.Name = name.text
		}
		out = append(out, invite)
	}
	return out
}

func reports(n *node) []string {
	if n == nil {
		return nil
	}
	var out []string
	for _, supported := range n.kids {
		if report := supported.kid(dav("report")); report != nil && len(report.kids) > 0 {
			out = append(out, report.kids[0].name.Local)
		}
	}
	return out
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// number reads a number that may be missing or nonsense: 0 then.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
