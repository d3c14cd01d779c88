package davserver

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"
)

// resource is what properties are read from.
type resource struct {
	s    *Server
	user User
	target
	info *calendarInfo // of a calendar, and of the calendar that an object is in
	obj  *object
	data *string // calendar-data, in answers to reports that ask for it
}

func (r *resource) principal() string {
	segment := r.target.user
	if segment == "" {
		segment = r.user.segment()
	}
	return r.s.href(target{kind: principalKind, user: segment})
}

// kinds is a set of kinds of resources.
type kinds uint

func of(list ...kind) (set kinds) {
	for _, k := range list {
		set |= 1 << k
	}
	return set
}

const anywhere = ^kinds(0)

// liveProperty is a property that the server works out. Those in all are part of the
// answer to allprop, as far as RFC 4791 (section 5.2) wants it.
type liveProperty struct {
	name  xml.Name
	on    kinds
	all   bool
	value func(r *resource) string // the XML inside the element
}

var liveProperties = []liveProperty{
	{dav("resourcetype"), anywhere, true, resourceType},
	{dav("displayname"), of(principalKind, homeKind, calendarKind), true, func(r *resource) string {
		if r.kind == calendarKind {
			return escaped(r.target.calendar)
		}
		return escaped(r.user.segment())
	}},
	{dav("getetag"), of(objectKind), true, func(r *resource) string { return escaped(`"` + r.obj.Record.ETag + `"`) }},
	{dav("getcontenttype"), of(objectKind), true, func(r *resource) string { return contentType(r.obj.Record.Component) }},
	{dav("getcontentlength"), of(objectKind), true, func(r *resource) string { return strconv.Itoa(r.obj.Record.Size) }},
	{dav("getlastmodified"), of(objectKind, calendarKind), true, func(r *resource) string {
		if r.kind == calendarKind {
			return httpTime(r.info.Record.Modified)
		}
		return httpTime(r.obj.Record.Modified)
	}},
	{dav("creationdate"), of(calendarKind), true, func(r *resource) string {
		return time.UnixMilli(r.info.Record.Created).UTC().Format(time.RFC3339)
	}},
	{dav("current-user-principal"), anywhere, false, func(r *resource) string { return hrefElement(r.principal()) }},
	{dav("principal-URL"), of(principalKind), false, func(r *resource) string { return hrefElement(r.principal()) }},
	{dav("principal-collection-set"), anywhere, false, func(r *resource) string {
		return hrefElement(r.s.href(target{kind: principalsAll}))
	}},
	{dav("group-membership"), of(principalKind), false, nothing},
	{dav("owner"), of(principalKind, homeKind, calendarKind, objectKind), false, func(r *resource) string { return hrefElement(r.principal()) }},
	{dav("current-user-privilege-set"), anywhere, false, privileges},
	{dav("supported-report-set"), anywhere, false, supportedReports},
	{dav("sync-token"), of(calendarKind), false, func(r *resource) string { return escaped(r.info.token()) }},
	{cs("getctag"), of(calendarKind), false, func(r *resource) string { return escaped(r.info.token()) }},
	{cal("calendar-home-set"), of(principalKind), false, func(r *resource) string {
		return hrefElement(r.s.href(target{kind: homeKind, user: r.target.user}))
	}},
	{cal("calendar-user-address-set"), of(principalKind), false, func(r *resource) string {
		var b strings.Builder
		for _, address := range r.user.Addresses {
			b.WriteString(hrefElement("mailto:" + address))
		}
		return b.String() + hrefElement(r.principal())
	}},
	{cal("calendar-user-type"), of(principalKind), false, func(*resource) string { return "INDIVIDUAL" }},
	{cal("supported-calendar-component-set"), of(calendarKind), false, func(r *resource) string {
		var b strings.Builder
		for _, c := range r.info.Record.Components {
			fmt.Fprintf(&b, `<C:comp name="%s"/>`, c)
		}
		return b.String()
	}},
	{cal("supported-calendar-data"), of(calendarKind), false, func(*resource) string {
		return `<C:calendar-data content-type="text/calendar" version="2.0"/>`
	}},
	{cal("supported-collation-set"), of(calendarKind), false, func(*resource) string {
		var b strings.Builder
		for _, c := range []string{asciiCasemap, octet, unicodeCasemap} {
			b.WriteString("<C:supported-collation>" + c + "</C:supported-collation>")
		}
		return b.String()
	}},
	{cal("max-resource-size"), of(calendarKind), false, func(r *resource) string { return strconv.Itoa(r.s.opts.MaxObject) }},
	{cal("calendar-data"), 0, false, nil},
}

// protectedElsewhere are further properties that belong to a server and that this
// one does not have.
var protectedElsewhere = map[xml.Name]bool{
	dav("lockdiscovery"): true, dav("supportedlock"): true, dav("acl"): true, dav("acl-restrictions"): true,
	dav("group"): true, dav("supported-privilege-set"): true, dav("inherited-acl-set"): true,
	dav("quota-available-bytes"): true, dav("quota-used-bytes"): true,
	cal("max-instances"): true, cal("max-attendees-per-instance"): true, cal("min-date-time"): true, cal("max-date-time"): true,
}

var liveByName = func() map[xml.Name]*liveProperty {
	m := make(map[xml.Name]*liveProperty)
	for i := range liveProperties {
		m[liveProperties[i].name] = &liveProperties[i]
	}
	return m
}()

// isProtected reports whether a property can't be set by clients.
func isProtected(name xml.Name) bool {
	return (liveByName[name] != nil || protectedElsewhere[name]) && name != dav("displayname")
}

func nothing(*resource) string { return "" }

// property returns one property of the resource. What a client has set goes first.
func (r *resource) property(name xml.Name) property {
	p := property{name: name}
	if r.kind == calendarKind {
		if p.xml, p.found = r.info.Properties[propertyKey(name)]; p.found {
			return p
		}
	}
	if r.data != nil && name == cal("calendar-data") {
		return property{name, "<C:calendar-data>" + *r.data + "</C:calendar-data>", true}
	}
	live := liveByName[name]
	if live == nil || live.on&of(r.kind) == 0 {
		return p
	}
	var b bytes.Buffer
	openTag(&b, name)
	b.WriteString(live.value(r))
	closeTag(&b, name)
	p.xml, p.found = b.String(), true
	return p
}

// names returns the properties that the resource has: those for allprop, or all.
func (r *resource) names(all bool) []xml.Name {
	var out []xml.Name
	for _, live := range liveProperties {
		if live.on&of(r.kind) != 0 && (all || live.all) {
			out = append(out, live.name)
		}
	}
	if r.kind != calendarKind {
		return out
	}
	var stored []string
	for key := range r.info.Properties {
		stored = append(stored, key)
	}
	sort.Strings(stored)
	for _, key := range stored {
		space, local, _ := strings.Cut(key[1:], "}")
		name := xml.Name{Space: space, Local: local}
		if liveByName[name] == nil && (all || space != nsCal) {
			out = append(out, name)
		}
	}
	return out
}

func resourceType(r *resource) string {
	switch r.kind {
	case objectKind:
		return ""
	case calendarKind:
		return "<D:collection/><C:calendar/>"
	case principalKind:
		return "<D:collection/><D:principal/>"
	}
	return "<D:collection/>"
}

func privileges(r *resource) string {
	list := []string{"D:read", "D:read-current-user-privilege-set"}
	switch r.kind {
	case homeKind:
		list = append(list, "D:bind", "D:unbind")
	case calendarKind:
		list = append(list, "D:write", "D:write-properties", "D:write-content", "D:bind", "D:unbind", "C:read-free-busy")
	case objectKind:
		list = append(list, "D:write", "D:write-content")
	}
	var b strings.Builder
	for _, p := range list {
		b.WriteString("<D:privilege><" + p + "/></D:privilege>")
	}
	return b.String()
}

func supportedReports(r *resource) string {
	if r.kind != calendarKind {
		return ""
	}
	var b strings.Builder
	for _, name := range []string{"C:calendar-query", "C:calendar-multiget", "C:free-busy-query", "D:sync-collection"} {
		b.WriteString("<D:supported-report><D:report><" + name + "/></D:report></D:supported-report>")
	}
	return b.String()
}

func contentType(component string) string {
	return "text/calendar; charset=utf-8; component=" + strings.ToLower(component)
}

func httpTime(ms int64) string { return time.UnixMilli(ms).UTC().Format(http.TimeFormat) }
