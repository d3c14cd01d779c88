package calendar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// edit changes one component of an object as asked for.
type edit struct {
	cal    *ical.Calendar
	comp   *ical.Component
	change *EventChange
	zone   *time.Location
	own    people
	master bool   // of a series or a single event; else an occurrence's override
	help   string // how to tell one's addresses

	organizer *ical.Property // of another's meeting
	warnings  []string
}

// apply does it. What is not asked for is not touched: unknown properties, parameters
// and alarms of other kinds stay as they are, byte for byte.
func (e *edit) apply() error {
	c, comp := e.change, e.comp
	if err := e.permitted(); err != nil {
		return err
	}
	was := readRecurrence(e.cal, comp, e.zone) // what the caller may be sending back
	if c.moves() {
		if err := e.move(was); err != nil {
			return err
		}
	}
	if c.Recurrence.Set {
		if !e.master {
			return invalid("recurrenceRule", "one occurrence can't have a rule; leave recurrenceId out to change the series.")
		}
		read := e.zone
		if c.TimeZone.Value != "" {
			var err error
			if read, err = loadZone("timeZone", c.TimeZone.Value); err != nil {
				return err
			}
		}
		dropped, err := setRecurrence(e.cal, comp, c.Recurrence.Value, was, e.zone, read)
		if err != nil {
			return err
		}
		e.warnDropped(dropped)
		if sent := c.Recurrence.Value; sent != nil && !sent.sameRule(was) {
			e.warnStart()
		}
	}
	text := func(name string, o Opt[string]) {
		if o.Set && o.Value == "" {
			comp.Remove(name)
		} else if o.Set && (comp.Property(name) == nil || comp.Text(name) != o.Value) {
			comp.SetText(name, o.Value)
		}
	}
	text("SUMMARY", c.Title)
	text("DESCRIPTION", c.Description)
	text("LOCATION", c.Location)
	text("X-ADHD-CATEGORY", c.ADHDCategory)
	word := func(name string, o Opt[string]) {
		o.Value = strings.ToUpper(o.Value)
		if !strings.EqualFold(comp.Text(name), o.Value) || o.Value == "" {
			text(name, o)
		}
	}
	word("STATUS", c.Status)
	word("CLASS", c.Visibility)
	transp := c.Availability
	transp.Value = map[string]string{"free": "TRANSPARENT", "busy": "OPAQUE"}[transp.Value]
	word("TRANSP", transp)
	number := func(name string, o Opt[int]) {
		text(name, Opt[string]{o.Set, map[bool]string{true: strconv.Itoa(o.Value)}[o.Value != 0]})
	}
	number("X-ADHD-FOCUS-PRIORITY", c.Focus)
	number("X-ADHD-ENERGY-LEVEL", c.Energy)
	if c.Categories.Set {
		comp.SetTextList("CATEGORIES", c.Categories.Value)
	}
	if c.RelatedTasks.Set && !slices.Equal(comp.TextList("X-ADHD-RELATED-TASK"), c.RelatedTasks.Value) {
		comp.Remove("X-ADHD-RELATED-TASK")
		for _, task := range c.RelatedTasks.Value {
			comp.Add(ical.NewProperty("X-ADHD-RELATED-TASK", ical.EscapeText(task)))
		}
	}
	if c.Color.Set {
		setColor(comp, c.Color.Value)
	}
	if c.Participants.Set {
		setParticipants(comp, c.Participants.Value, e.own)
	}
	if c.Reminders.Set {
		setReminders(e.cal, comp, c.Reminders.Value, e.zone, e.own)
	}
	if e.organizer == nil {
		e.cal.EnsureTimezones()
	}
	return nil
}

// maxDropped is how many occurrences a warning names.
const maxDropped = 10

func (e *edit) warnDropped(ids []string) {
	if len(ids) == 0 {
		return
	}
	list := strings.Join(ids[:min(len(ids), maxDropped)], ", ")
	if len(ids) > maxDropped {
		list += ", …"
	}
	e.warnings = append(e.warnings, "the series has these occurrences no more, and what had been changed in them by themselves is gone: "+list)
}

// warnStart tells of a start that is no day of the rule: it is an occurrence all the same
// (RFC 5545, section 3.8.5.3).
func (e *edit) warnStart() {
	start, err := e.comp.Time("DTSTART")
	p := e.comp.Property("RRULE")
	if err != nil || p == nil {
		return
	}
	rule, err := p.Rule()
	if err != nil {
		return
	}
	day := start.Wall
	last := day.AddDate(0, 0, 1-day.Day()).AddDate(0, 1, -1).Day()
	fits := func(n int) bool { return n == day.Day() || n < 0 && last+n+1 == day.Day() }
	named := func(w ical.WeekdayNum) bool { return w.Day == day.Weekday() }
	if len(rule.ByDay) > 0 && !slices.ContainsFunc(rule.ByDay, named) ||
		len(rule.ByMonthDay) > 0 && !slices.ContainsFunc(rule.ByMonthDay, fits) ||
		len(rule.ByMonth) > 0 && !slices.Contains(rule.ByMonth, int(day.Month())) {
		e.warnings = append(e.warnings, fmt.Sprintf("the start, %s, is no day of recurrenceRule; it is the first occurrence all the same. Send a start that is, if that was not meant", day.Format("Monday 2006-01-02")))
	}
}

// warnUnsent tells that nobody is invited where the server does not do it.
func (e *edit) warnUnsent(schedules bool) {
	if schedules || len(e.change.Participants.Value) == 0 {
		return
	}
	text := "this calendar server sends no invitations: the participants have to be told otherwise"
	if e.comp.Property("ORGANIZER") == nil {
		text += "; the event names no organizer, as the user's own mail address is not known. " + e.help
	}
	e.warnings = append(e.warnings, strings.TrimSpace(text))
}

// move changes the time, and with that of a series what was said about its occurrences.
// A rule that is sent along names its days itself. One that is sent back as it was read
// ends with the same occurrence, and a new one says nothing about the occurrences before.
func (e *edit) move(known *Recurrence) error {
	s := &schedule{cal: e.cal, comp: e.comp, change: e.change, zone: e.zone}
	was, is, err := s.apply()
	e.warnings = append(e.warnings, s.warnings...)
	if err != nil || !e.master {
		return err
	}
	sent := e.change.Recurrence
	p := e.comp.Property("RRULE")
	switch {
	case p == nil || !sent.Set:
		return s.shift(was, is, true)
	case sent.Value != nil && sent.Value.sameRule(known):
		return s.shift(was, is, false)
	}
	value := p.Value()
	e.comp.RemoveProperty(p)
	err = s.shift(was, is, false)
	e.comp.SetValue("RRULE", value)
	return err
}

// permitted refuses what an attendee can't change in another's meeting: the organizer's
// next message would undo it.
func (e *edit) permitted() error {
	if e.organizer == nil {
		return nil
	}
	c := *e.change
	c.Reminders.Set, c.Color.Set = false, false
	c.ADHDCategory.Set, c.Focus.Set, c.Energy.Set, c.RelatedTasks.Set = false, false, false, false
	if c.IsEmpty() {
		return nil
	}
	text := fmt.Sprintf("This meeting is organized by %s. Only your own reminders, color, adhdCategory, focusPriority, energyLevel and relatedTasks can be changed in it; ask the organizer for anything else.", clip(organizerName(e.organizer), 100))
	if e.change.Participants.Set {
		text += " An invitation is answered in the user's own calendar program."
	}
	if len(e.own) == 0 {
		text += " The calendar server does not say which mail addresses are the user's own, so that every organizer counts as somebody else. " + e.help
	}
	return forbidden("%s", strings.TrimSpace(text))
}

func setColor(comp *ical.Component, color string) {
	switch {
	case color == readColor(comp):
	case color == "":
		comp.Remove("COLOR")
		comp.Remove("X-APPLE-CALENDAR-COLOR")
	case hexColor.MatchString(color):
		comp.SetText("COLOR", colorName(color))
		comp.SetText("X-APPLE-CALENDAR-COLOR", color)
	default:
		comp.SetText("COLOR", color)
		comp.Remove("X-APPLE-CALENDAR-COLOR")
	}
}

// setReminders makes the list the event's alarms. An alarm that goes off when the list
// says stays as it is, however it is written.
func setReminders(cal *ical.Calendar, comp *ical.Component, list []Reminder, zone *time.Location, own people) {
	in := ical.Instance{Component: comp}
	if t, err := comp.Time("DTSTART"); err == nil {
		in.Start, _ = cal.Instant(t, zone)
		in.End = in.Start.Add((&schedule{cal: cal, comp: comp, zone: zone}).length(t, in.Start))
	}
	left := slices.Clone(list)
	for _, alarm := range comp.Components("VALARM") {
		r, ok := readReminder(alarm, in)
		if !ok && len(list) > 0 {
			continue // nothing that a caller could have seen
		}
		r.IsSent = false
		i := slices.IndexFunc(left, func(w Reminder) bool { w.IsSent = false; return w == r })
		if i < 0 {
			comp.RemoveComponent(alarm)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, r := range left {
		comp.AddComponent(newAlarm(comp, r, own))
	}
}

func newAlarm(comp *ical.Component, r Reminder, own people) *ical.Component {
	alarm := ical.NewComponent("VALARM")
	title := comp.Text("SUMMARY")
	if title == "" {
		title = "Reminder"
	}
	alarm.SetDuration("TRIGGER", ical.Duration{Time: -time.Duration(r.MinutesBefore) * time.Minute})
	if r.Type == "email" {
		alarm.SetValue("ACTION", "EMAIL")
		alarm.SetText("SUMMARY", title)
		if len(own) > 0 {
			alarm.Add(ical.NewProperty("ATTENDEE", "mailto:"+own[0]))
		}
	} else {
		alarm.SetValue("ACTION", "DISPLAY")
	}
	alarm.SetText("DESCRIPTION", title)
	return alarm
}

// newObject makes the object of a new event.
func newObject(uid string, now time.Time) (*ical.Calendar, *ical.Component) {
	cal := ical.New("-//Perdure//Perdure//EN")
	comp := ical.NewComponent("VEVENT")
	cal.AddComponent(comp)
	comp.SetText("UID", uid)
	comp.SetTime("DTSTAMP", ical.UTCTime(now))
	comp.SetTime("CREATED", ical.UTCTime(now))
	comp.SetTime("LAST-MODIFIED", ical.UTCTime(now))
	comp.SetValue("SEQUENCE", "0")
	return cal, comp
}

// revision remembers what an object's components were, to stamp those that changed.
type revision struct {
	cal    *ical.Calendar
	before map[*ical.Component]snapshot
}

type snapshot struct {
	text, plan string
}

func snap(c *ical.Component) snapshot {
	return snapshot{string(c.Bytes()), plan(c)}
}

func newRevision(cal *ical.Calendar) *revision {
	r := &revision{cal, make(map[*ical.Component]snapshot)}
	for _, c := range cal.Components("VEVENT") {
		r.before[c] = snap(c)
	}
	return r
}

// plan is what attendees have to know anew: time, rule and place (RFC 5545, section 3.8.7.4).
func plan(c *ical.Component) string {
	var b strings.Builder
	for _, name := range []string{"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID", "LOCATION"} {
		for _, p := range c.Properties(name) {
			fmt.Fprintln(&b, p)
		}
	}
	return b.String()
}

// stamp brings DTSTAMP and LAST-MODIFIED of what changed up to date, and SEQUENCE where
// the plan changed, unless the meeting is another's: the organizer counts its revisions, and
// a number ahead of his makes his next message an old one (RFC 5546, section 2.1.4). It says
// whether anything did.
func (r *revision) stamp(now time.Time, others bool) bool {
	changed := false
	present := 0
	for _, c := range r.cal.Components("VEVENT") {
		before, known := r.before[c]
		if known {
			present++
		}
		if known && before == snap(c) {
			continue
		}
		changed = true
		c.SetTime("DTSTAMP", ical.UTCTime(now))
		c.SetTime("LAST-MODIFIED", ical.UTCTime(now))
		if before.plan != plan(c) && !others {
			n, _ := strconv.Atoi(strings.TrimSpace(c.Text("SEQUENCE")))
			c.SetValue("SEQUENCE", strconv.Itoa(max(n, 0)+1))
		}
	}
	return changed || present < len(r.before)
}
