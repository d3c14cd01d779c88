package calendar

import (
	"encoding/json"
	"time"
)

// Event is an event as callers see it, or one occurrence of it. The JSON names are those
// of mcp-nextcloud-calendar, with which tools and prompts were made. What iCalendar says
// beyond it is not lost: a change touches only what it names.
type Event struct {
	ID           string         `json:"id"` // opaque; all occurrences of a series share it
	CalendarID   string         `json:"calendarId"`
	SeriesID     string         `json:"seriesId,omitempty"`     // the ID, on what recurs
	RecurrenceID string         `json:"recurrenceId,omitempty"` // on an occurrence: its original start
	Title        string         `json:"title"`
	Description  string         `json:"description,omitempty"`
	Start        Moment         `json:"start"`
	End          Moment         `json:"end"` // of an all-day event its last day, inclusive
	IsAllDay     bool           `json:"isAllDay"`
	TimeZone     string         `json:"timeZone,omitempty"` // in which it was written; none for UTC, floating and all-day
	Location     string         `json:"location,omitempty"`
	Organizer    *Organizer     `json:"organizer,omitempty"`
	Participants []Participant  `json:"participants,omitempty"`
	Recurrence   *Recurrence    `json:"recurrenceRule,omitempty"`
	Status       string         `json:"status,omitempty"`       // confirmed, tentative, cancelled
	Visibility   string         `json:"visibility,omitempty"`   // public, private, confidential
	Availability string         `json:"availability,omitempty"` // free, busy
	Reminders    []Reminder     `json:"reminders,omitempty"`
	Color        string         `json:"color,omitempty"` // a CSS color name or #rrggbb
	Categories   []string       `json:"categories,omitempty"`
	ADHDCategory string         `json:"adhdCategory,omitempty"`
	Focus        int            `json:"focusPriority,omitempty"` // 1 to 10; 0: none
	Energy       int            `json:"energyLevel,omitempty"`   // 1 to 5; 0: none
	RelatedTasks []string       `json:"relatedTasks,omitempty"`
	Created      Moment         `json:"created"`
	LastModified Moment         `json:"lastModified"`
	ETag         string         `json:"etag,omitempty"` // of the whole object
	Metadata     map[string]any `json:"metadata,omitempty"`
}

// Organizer is whose meeting it is.
type Organizer struct {
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
}

// Participant is an attendee.
type Participant struct {
	Email   string `json:"email"`
	Name    string `json:"name,omitempty"`
	Status  string `json:"status,omitempty"` // accepted, declined, tentative, needs-action
	Role    string `json:"role,omitempty"`   // required, optional
	Type    string `json:"type,omitempty"`   // individual, group, resource, room
	Comment string `json:"comment,omitempty"`
}

// Recurrence is a recurrence rule with its exceptions. What it can't express (times of
// day, days of the year) is kept, also by a change of the rest; a change that can't keep it
// is refused. One that was read and is sent back changes nothing.
type Recurrence struct {
	Frequency  string   `json:"frequency"` // daily, weekly, monthly, yearly
	Interval   int      `json:"interval,omitempty"`
	Until      string   `json:"until,omitempty"` // a date or time
	Count      int      `json:"count,omitempty"`
	ByDay      []string `json:"byDay,omitempty"` // MO, 2TU, -1FR
	ByMonthDay []int    `json:"byMonthDay,omitempty"`
	ByMonth    []int    `json:"byMonth,omitempty"`
	BySetPos   []int    `json:"bySetPos,omitempty"`
	ExDates    []string `json:"exDates,omitempty"` // dates or times of occurrences left out
}

// Reminder is an alarm before the start.
type Reminder struct {
	Type          string `json:"type"` // email, notification
	MinutesBefore int    `json:"minutesBefore"`
	IsSent        bool   `json:"isSent,omitempty"`
}

// Opt is a field of a change: absent, or set to a value. A JSON null is the zero
// value, which clears the field. The zero Opt is absent.
type Opt[T any] struct {
	Set   bool
	Value T
}

// To returns an Opt that sets v.
func To[T any](v T) Opt[T] { return Opt[T]{true, v} }

// UnmarshalJSON is called for each field that is there, null included.
func (o *Opt[T]) UnmarshalJSON(data []byte) error {
	o.Set = true
	return json.Unmarshal(data, &o.Value)
}

// IsZero is for omitzero.
func (o Opt[T]) IsZero() bool { return !o.Set }

// MarshalJSON writes the value.
func (o Opt[T]) MarshalJSON() ([]byte, error) { return json.Marshal(o.Value) }

// EventChange is what is to be set in an event; what is absent stays as it is. "",
// an empty list and null clear a field. Dates are texts: a date, a local time, which
// is read in TimeZone, or a time with an offset or Z.
type EventChange struct {
	Title        Opt[string]        `json:"title,omitzero"`
	Description  Opt[string]        `json:"description,omitzero"`
	Start        Opt[string]        `json:"start,omitzero"`
	End          Opt[string]        `json:"end,omitzero"`
	TimeZone     Opt[string]        `json:"timeZone,omitzero"`
	IsAllDay     Opt[bool]          `json:"isAllDay,omitzero"`
	Location     Opt[string]        `json:"location,omitzero"`
	Participants Opt[[]Participant] `json:"participants,omitzero"` // the whole list; those already there keep their answers
	Recurrence   Opt[*Recurrence]   `json:"recurrenceRule,omitzero"`
	Status       Opt[string]        `json:"status,omitzero"`
	Visibility   Opt[string]        `json:"visibility,omitzero"`
	Availability Opt[string]        `json:"availability,omitzero"`
	Reminders    Opt[[]Reminder]    `json:"reminders,omitzero"`
	Color        Opt[string]        `json:"color,omitzero"`
	Categories   Opt[[]string]      `json:"categories,omitzero"`
	ADHDCategory Opt[string]        `json:"adhdCategory,omitzero"`
	Focus        Opt[int]           `json:"focusPriority,omitzero"`
	Energy       Opt[int]           `json:"energyLevel,omitzero"`
	RelatedTasks Opt[[]string]      `json:"relatedTasks,omitzero"`
}

// IsEmpty says whether the change sets nothing. A time zone alone changes nothing.
func (c *EventChange) IsEmpty() bool {
	return !(c.Title.Set || c.Description.Set || c.Start.Set || c.End.Set || c.IsAllDay.Set || c.Location.Set ||
		c.Participants.Set || c.Recurrence.Set || c.Status.Set || c.Visibility.Set || c.Availability.Set ||
		c.Reminders.Set || c.Color.Set || c.Categories.Set || c.ADHDCategory.Set || c.Focus.Set || c.Energy.Set ||
		c.RelatedTasks.Set)
}

// moves says whether the change is of the time.
func (c *EventChange) moves() bool { return c.Start.Set || c.End.Set || c.IsAllDay.Set }

// Freshness says how far an answer can be relied upon.
type Freshness struct {
	Stale bool          // the server could not be asked; this is the last copy
	Age   time.Duration // how long ago the copy was compared with the server
}

// worse returns the less fresh of the two.
func (f Freshness) worse(g Freshness) Freshness {
	return Freshness{f.Stale || g.Stale, max(f.Age, g.Age)}
}
