package calendar

import (
	"slices"
	"strings"

	"github.com/perdure/perdure/calendar/ical"
)

// people are a user's own calendar addresses, as addressKey has them.
type people []string

func (own people) has(address string) bool { return slices.Contains(own, addressKey(address)) }

// foreignOrganizer returns whose meeting it is, "" if it is the user's own or none. An
// organizer who is not known to be the user is another.
func (own people) foreignOrganizer(comp *ical.Component) string {
	p := comp.Property("ORGANIZER")
	if p == nil || own.has(mailOf(p)) || own.has(p.Value()) {
		return ""
	}
	return mailOf(p)
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
// others, where the user is the organizer (RFC 6638, section 3.2.1), and the organizer,
// where the user leaves another's meeting.
func (own people) notified(comp *ical.Component) []string {
	organizer := comp.Property("ORGANIZER")
	if organizer == nil || quiet(organizer) {
		return nil
	}
	if foreign := own.foreignOrganizer(comp); foreign != "" {
		return []string{foreign}
	}
	var out []string
	for _, p := range comp.Properties("ATTENDEE") {
		if mail := mailOf(p); !own.has(mail) && !quiet(p) {
			out = append(out, mail)
		}
	}
	return out
}

// quiet says that the server is not to write to this one (RFC 6638, section 7.1).
func quiet(p *ical.Property) bool {
	agent := strings.ToUpper(p.Param("SCHEDULE-AGENT"))
	return agent == "CLIENT" || agent == "NONE"
}

// silence tells the server to write to nobody. Nextcloud heeds nothing but this.
func silence(comp *ical.Component, on bool) {
	for _, name := range []string{"ORGANIZER", "ATTENDEE"} {
		for _, p := range comp.Properties(name) {
			switch {
			case on:
				p.SetParam("SCHEDULE-AGENT", "CLIENT")
			case quiet(p):
				p.SetParam("SCHEDULE-AGENT")
			}
		}
	}
}
