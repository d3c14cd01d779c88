package calendar

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// readEvent turns a component into what callers see, without ids. Its times are those
// of the occurrence in; zone is the one for floating times.
func readEvent(cal *ical.Calendar, in ical.Instance, zone *time.Location) Event {
	comp := in.Component
	e := Event{
		Title:        comp.Text("SUMMARY"),
		Description:  comp.Text("DESCRIPTION"),
		IsAllDay:     in.AllDay,
		Location:     comp.Text("LOCATION"),
		Organizer:    readOrganizer(comp),
		Participants: readParticipants(comp),
		Recurrence:   readRecurrence(cal, comp, zone),
		Status:       oneOf(strings.ToLower(comp.Text("STATUS")), statuses),
		Visibility:   oneOf(strings.ToLower(comp.Text("CLASS")), visibilities),
		Reminders:    readReminders(comp, in),
		Color:        readColor(comp),
		Categories:   comp.TextList("CATEGORIES"),
		ADHDCategory: comp.Text("X-ADHD-CATEGORY"),
		Focus:        clamped(comp.Text("X-ADHD-FOCUS-PRIORITY"), 10),
		Energy:       clamped(comp.Text("X-ADHD-ENERGY-LEVEL"), 5),
		RelatedTasks: comp.TextList("X-ADHD-RELATED-TASK"),
	}
	switch strings.ToUpper(comp.Text("TRANSP")) {
	case "TRANSPARENT":
		e.Availability = "free"
	case "OPAQUE":
		e.Availability = "busy"
	}
	if in.AllDay {
		e.Start, e.End = dayMoment(in.Start), dayMoment(in.End.AddDate(0, 0, -1))
		if e.End.Time.Before(e.Start.Time) {
			e.End = e.Start
		}
	} else {
		e.Start, e.End = Moment{Time: in.Start.UTC()}, Moment{Time: in.End.UTC()}
		if in.Local.TZID != "" {
			e.TimeZone = in.Local.TZID
			if loc, err := cal.Zone(in.Local.TZID); err == nil && namedZone(loc.String()) != nil {
				e.TimeZone = loc.String()
			}
		}
	}
	if !in.RecurrenceID.IsZero() {
		e.RecurrenceID = recurrenceID(cal, in.RecurrenceID, zone)
	}
	stamp := instantOf(cal, comp, "DTSTAMP")
	e.Created, e.LastModified = Moment{Time: stamp}, Moment{Time: stamp}
	if t := instantOf(cal, comp, "CREATED"); !t.IsZero() {
		e.Created.Time = t
	}
	if t := instantOf(cal, comp, "LAST-MODIFIED"); !t.IsZero() {
		e.LastModified.Time = t
	}
	return e
}

// recurrenceID names an occurrence by its original start: a date, or an instant in UTC.
func recurrenceID(cal *ical.Calendar, t ical.Time, zone *time.Location) string {
	if t.Date {
		return t.Wall.Format(time.DateOnly)
	}
	at, _ := cal.Instant(t, zone)
	return at.UTC().Format(time.RFC3339)
}

// parseRecurrenceID reads what recurrenceID made; other ways to write the same time do too.
func parseRecurrenceID(s string, zone *time.Location) (ical.Time, error) {
	if t, err := ical.ParseTime(s, ""); err == nil {
		return t, nil
	}
	w, err := parseWritten("recurrenceId", s)
	if err != nil {
		return ical.Time{}, invalid("recurrenceId", "%q is no recurrence id; send that of an occurrence as listEvents gave it, for example 2026-03-10T08:00:00Z.", clip(s, 60))
	}
	if w.date {
		return ical.Time{Wall: w.wall, Date: true}, nil
	}
	return ical.UTCTime(w.in(zone)), nil
}

func dayMoment(t time.Time) Moment {
	y, m, d := t.Date()
	return Moment{time.Date(y, m, d, 0, 0, 0, 0, time.UTC), true}
}

func instantOf(cal *ical.Calendar, comp *ical.Component, name string) time.Time {
	t, err := comp.Time(name)
	if err != nil {
		return time.Time{}
	}
	at, _ := cal.Instant(t, nil)
	return at.UTC()
}

func oneOf(s string, words []string) string {
	if slices.Contains(words, s) {
		return s
	}
	return ""
}

// clamped reads a number that belongs between 1 and limit; 0 if it is none.
func clamped(s string, limit int) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n <= 0 {
		return 0
	}
	return min(n, limit)
}

// readColor believes the exact color only while COLOR, which other clients change
// alone, still says the same.
func readColor(comp *ical.Component) string {
	name := strings.ToLower(strings.TrimSpace(comp.Text("COLOR")))
	exact := strings.ToLower(strings.TrimSpace(comp.Text("X-APPLE-CALENDAR-COLOR")))
	if hexColor.MatchString(exact) && (name == "" || colorName(exact) == name) {
		return exact
	}
	return name
}

func readOrganizer(comp *ical.Component) *Organizer {
	p := comp.Property("ORGANIZER")
	if p == nil {
		return nil
	}
	return &Organizer{Email: mailOf(p), Name: p.Param("CN")}
}

// mailOf is the address of an ATTENDEE or ORGANIZER: without "mailto:", or, where the
// value is another kind of address, from EMAIL (RFC 7986, section 6.2).
func mailOf(p *ical.Property) string {
	value := strings.TrimSpace(p.Value())
	if len(value) > 7 && strings.EqualFold(value[:7], "mailto:") {
		return value[7:]
	}
	if mail := p.Param("EMAIL"); mail != "" {
		return mail
	}
	return value
}

// addressKey is equal for addresses that are the same.
func addressKey(address string) string {
	address = strings.ToLower(strings.TrimSpace(address))
	return strings.TrimPrefix(address, "mailto:")
}

var (
	roleNames = map[string]string{"REQ-PARTICIPANT": "required", "CHAIR": "required", "OPT-PARTICIPANT": "optional", "NON-PARTICIPANT": "optional"}
	kindNames = map[string]string{"INDIVIDUAL": "individual", "GROUP": "group", "RESOURCE": "resource", "ROOM": "room"}
)

func readParticipants(comp *ical.Component) []Participant {
	var out []Participant
	for _, p := range comp.Properties("ATTENDEE") {
		answer := oneOf(strings.ToLower(p.Param("PARTSTAT")), answers)
		if answer == "" {
			answer = "needs-action"
		}
		out = append(out, Participant{
			Email: mailOf(p), Name: p.Param("CN"), Status: answer,
			Role: roleNames[strings.ToUpper(p.Param("ROLE"))], Type: kindNames[strings.ToUpper(p.Param("CUTYPE"))],
			Comment: p.Param("X-RESPONSE-COMMENT"),
		})
	}
	return out
}

func readReminders(comp *ical.Component, in ical.Instance) []Reminder {
	var out []Reminder
	for _, alarm := range comp.Components("VALARM") {
		if r, ok := readReminder(alarm, in); ok {
			out = append(out, r)
		}
	}
	return out
}

// readReminder tells how long before the start an alarm goes off, whatever it is
// written relative to.
func readReminder(alarm *ical.Component, in ical.Instance) (Reminder, bool) {
	trigger := alarm.Property("TRIGGER")
	if trigger == nil {
		return Reminder{}, false
	}
	r := Reminder{Type: "notification", IsSent: alarm.Property("ACKNOWLEDGED") != nil}
	if strings.EqualFold(alarm.Text("ACTION"), "EMAIL") {
		r.Type = "email"
	}
	var before time.Duration
	if d, err := trigger.Duration(); err == nil {
		before = -(time.Duration(d.Days)*24*time.Hour + d.Time)
		if strings.EqualFold(trigger.Param("RELATED"), "END") {
			before -= in.End.Sub(in.Start)
		}
	} else if t, err := trigger.Time(); err == nil {
		before = in.Start.Sub(t.In(time.UTC))
	} else {
		return r, false
	}
	r.MinutesBefore = int(math.Round(before.Minutes()))
	return r, true
}

func readRecurrence(cal *ical.Calendar, comp *ical.Component, zone *time.Location) *Recurrence {
	p := comp.Property("RRULE")
	if p == nil {
		return nil
	}
	rule, err := p.Rule()
	if err != nil {
		return nil
	}
	r := &Recurrence{
		Frequency: strings.ToLower(rule.Freq.String()), Interval: max(rule.Interval, 1), Count: rule.Count,
		ByMonthDay: rule.ByMonthDay, ByMonth: rule.ByMonth, BySetPos: rule.BySetPos,
	}
	for _, d := range rule.ByDay {
		r.ByDay = append(r.ByDay, d.String())
	}
	start, _ := comp.Time("DTSTART")
	if !rule.Until.IsZero() {
		r.Until = recurrenceID(cal, like(rule.Until, start), zone)
	}
	for _, ex := range comp.Properties("EXDATE") {
		times, _ := ex.Times()
		for _, t := range times {
			r.ExDates = append(r.ExDates, recurrenceID(cal, t, zone))
		}
	}
	return r
}

// like gives a local time without a zone of its own the one of another.
func like(t, other ical.Time) ical.Time {
	if !t.Date && !t.UTC && t.TZID == "" {
		t.TZID = other.TZID
	}
	return t
}
