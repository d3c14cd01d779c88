package calendar

import (
	"slices"
	"strings"

	"github.com/perdure/perdure/calendar/ical"
)

// people are a user's own calendar addresses, as addressKey has them.
type people []string

func (own people) has(address string) bool { return slices.Contains(own, addressKey(address)) }

// foreignOrganizer returns whose meeting it is, nil if it is the user's own or none. An
// organizer who is not known to be the user is another. All components of an event have
// the same one (RFC 6638, section 3.2.4.2); where they have not, an occurrence that was
// changed by itself say, what is another's in part is another's.
func (own people) foreignOrganizer(cal *ical.Calendar, uid string) *ical.Property {
	for _, c := range components(cal, uid) {
		for _, p := range c.Properties("ORGANIZER") {
			if organizerName(p) != "" && !own.has(mailOf(p)) && !own.has(p.Value()) {
				return p
			}
		}
	}
	return nil
}

// components are those of one event: its master, if it is there, and its occurrences.
func components(cal *ical.Calendar, uid string) []*ical.Component {
	return slices.DeleteFunc(cal.Components("VEVENT"), func(c *ical.Component) bool { return c.Text("UID") != uid })
}

// organizerName is what an organizer may be called; "" for an ORGANIZER that names nobody.
func organizerName(p *ical.Property) string {
	if mail := mailOf(p); addressKey(mail) != "" {
		return mail
	}
	return p.Param("CN")
}

var (
	rolesWritten = map[string]string{"required": "REQ-PARTICIPANT", "optional": "OPT-PARTICIPANT"}
	kindsWritten = map[string]string{"individual": "INDIVIDUAL", "group": "GROUP", "resource": "RESOURCE", "room": "ROOM"}
)

// setParticipants makes the list the event's. Who is there already keeps everything
// that the list does not say, the answer above all: "needs-action" does not take it
// back, as a caller that copies a list may write it for everyone.
func setParticipants(comp *ical.Component, list []Participant, own people) {
	present := make(map[string]*ical.Property)
	for _, p := range comp.Properties("ATTENDEE") {
		if key := addressKey(mailOf(p)); present[key] == nil {
			present[key] = p
		}
	}
	done := make(map[string]bool)
	for _, want := range list {
		key := addressKey(want.Email)
		if done[key] {
			continue // another program wrote it twice
		}
		done[key] = true
		p := present[key]
		if p == nil {
			p = ical.NewProperty("ATTENDEE", "mailto:"+want.Email)
			p.SetParam("CUTYPE", "INDIVIDUAL")
			p.SetParam("ROLE", "REQ-PARTICIPANT")
			p.SetParam("PARTSTAT", "NEEDS-ACTION")
			if !own.has(want.Email) {
				p.SetParam("RSVP", "TRUE")
			}
			comp.Add(p)
		}
		setParam(p, "CN", want.Name)
		setParam(p, "ROLE", rolesWritten[want.Role], "CHAIR", "NON-PARTICIPANT")
		setParam(p, "CUTYPE", kindsWritten[want.Type])
		if want.Status != "needs-action" {
			setParam(p, "PARTSTAT", strings.ToUpper(want.Status))
		}
	}
	for _, p := range comp.Properties("ATTENDEE") {
		if !done[addressKey(mailOf(p))] {
			comp.RemoveProperty(p)
		}
	}
	if len(list) == 0 {
		if organizer := comp.Property("ORGANIZER"); organizer != nil && own.has(mailOf(organizer)) {
			comp.RemoveProperty(organizer) // a meeting with nobody is none
		}
	} else if comp.Property("ORGANIZER") == nil && len(own) > 0 {
		comp.Add(ical.NewProperty("ORGANIZER", "mailto:"+own[0]))
	}
}

// setParam sets a parameter that has another value, unless its value is one that the
// model has no word for.
func setParam(p *ical.Property, name, value string, except ...string) {
	now := strings.ToUpper(p.Param(name))
	if value == "" || p.Param(name) == value || slices.Contains(except, now) && value == "REQ-PARTICIPANT" {
		return
	}
	p.SetParam(name, value)
}

// notified returns whom the server writes to when the event is stored or deleted: the
// others, where the user is the organizer (RFC 6638, section 3.2.1), whatever occurrence
// they take part in, and the organizer, where the user leaves another's meeting.
func (own people) notified(cal *ical.Calendar, uid string) []string {
	if foreign := own.foreignOrganizer(cal, uid); foreign != nil {
		if quiet(foreign) || addressKey(mailOf(foreign)) == "" {
			return nil
		}
		return []string{mailOf(foreign)}
	}
	var out []string
	for _, c := range components(cal, uid) {
		if organizer := c.Property("ORGANIZER"); organizer == nil || quiet(organizer) {
			continue
		}
		for _, p := range c.Properties("ATTENDEE") {
			if mail := mailOf(p); !own.has(mail) && !quiet(p) {
				out = append(out, mail)
			}
		}
	}
	return distinct(out)
}

// distinct returns addresses once each.
func distinct(list []string) []string {
	var out []string
	seen := make(map[string]bool)
	for _, address := range list {
		if key := addressKey(address); !seen[key] {
			seen[key] = true
			out = append(out, address)
		}
	}
	return out
}

// attends says whether the user takes part.
func (own people) attends(comp *ical.Component) bool {
	return slices.ContainsFunc(comp.Properties("ATTENDEE"), func(p *ical.Property) bool { return own.has(mailOf(p)) })
}

// quiet says that the server is not to write to this one (RFC 6638, section 7.1).
func quiet(p *ical.Property) bool {
	agent := strings.ToUpper(p.Param("SCHEDULE-AGENT"))
	return agent == "CLIENT" || agent == "NONE"
}

// A server is asked to write to nobody about a change by the request ([caldav.Client.Quiet])
// and, where it does not know such requests, in the event: that we write to those who are new.
// Of those who were there already the event must not say so: to them the server would send a
// cancellation (RFC 6638, section 3.2.1.2).

// silence tells the server not to write to who is new.
func silence(comp *ical.Component, known map[string]bool) {
	for _, p := range comp.Properties("ATTENDEE") {
		if !known[addressKey(mailOf(p))] {
			p.SetParam("SCHEDULE-AGENT", "CLIENT")
		}
	}
	if len(known) == 0 {
		for _, p := range comp.Properties("ORGANIZER") {
			p.SetParam("SCHEDULE-AGENT", "CLIENT")
		}
	}
}

// silent says that the server was told not to write about the event at all.
func silent(comp *ical.Component) bool {
	organizer := comp.Property("ORGANIZER")
	return organizer != nil && quiet(organizer)
}

// participants are the keys of the addresses of all who take part in an event.
func participants(cal *ical.Calendar, uid string) map[string]bool {
	out := make(map[string]bool)
	for _, c := range components(cal, uid) {
		for _, p := range c.Properties("ATTENDEE") {
			out[addressKey(mailOf(p))] = true
		}
	}
	return out
}

// speak lets the server write to all again.
func speak(comp *ical.Component) {
	for _, name := range []string{"ORGANIZER", "ATTENDEE"} {
		for _, p := range comp.Properties(name) {
			if quiet(p) {
				p.SetParam("SCHEDULE-AGENT")
			}
		}
	}
}
