package calmcp

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/perdure/perdure/calendar"
)

type eventsOutput struct {
	beginning
	Events     []listed `json:"events"`
	Cursor     string   `json:"cursor,omitempty"`
	Truncated  bool     `json:"truncated,omitempty"`
	Unreadable int      `json:"unreadable,omitempty"`
	ending
}

func listEventsTool() *tool {
	t := newTool("listEvents", "List events", "retrieve events",
		"Lists events by start, series as their occurrences (each with recurrenceId). Without calendarId all calendars are read but hidden ones, birthdays and subscriptions. Long descriptions are shortened, which the event's field shortened says; getEventById reads them in full.",
		hints{reads: true}, record("", nil,
			param{"calendarId", text("Id of one calendar; all of them if left out.", "personal")},
			param{"start", text("Begin of the range: "+dates+". Six months ago by default.", "2026-03-01")},
			param{"end", text("End of the range; a date includes that day. In six months by default.", "2026-03-31")},
			param{"timeZone", text(aboutZone, "Europe/Vienna")},
			param{"limit", number("Events a page, 100 by default.", 1, 500, 100)},
			param{"expandRecurring", flag("false: one entry for a series instead of its occurrences.", true)},
			param{"priorityMinimum", number("Only events with at least this focusPriority.", 1, 10, 5)},
			param{"adhdCategory", text("Only events of this adhdCategory.", "focus")},
			param{"tags", list("Only events with one of these categories.", text("A tag.", "health"), []string{"health"})},
			param{"cursor", text("The cursor of the page before, with otherwise the same parameters.", "eyJxIjoi...")},
			sessionParam),
		outputSchema[eventsOutput](about(map[string]string{
			"cursor": "there is more: send it with the same parameters", "truncated": "a series has more occurrences than are counted",
			"unreadable": "number of events that can't be read",
		})))
	t.run = listEvents
	return t
}

func listEvents(ctx context.Context, c *call) (output, error) {
	in := &c.in
	q := calendar.Query{
		Start: in.Start.Value, End: in.End.Value, TimeZone: in.TimeZone.Value,
		Series:          in.ExpandRecurring != nil && !*in.ExpandRecurring,
		PriorityMinimum: in.PriorityMinimum, ADHDCategory: in.ADHDCategory.Value, Tags: in.Tags,
	}
	if in.CalendarID != "" {
		q.Calendars = []string{in.CalendarID}
	}
	if in.Limit != nil {
		if q.Limit = *in.Limit; q.Limit < 1 {
			return nil, invalid("limit", "%d is out of range; send a whole number from 1 to 500, for example 100.", q.Limit)
		}
	}
	if len(q.Tags) > maxTags {
		return nil, invalid("tags", "%d are too many; send at most %d.", len(q.Tags), maxTags)
	}
	return listPage(ctx, c.User, c.id, q, in.Cursor)
}

const maxTags = 100

// listPage returns a page of events that fits into pageBytes as text.
func listPage(ctx context.Context, user *calendar.User, id string, q calendar.Query, cursor string) (*eventsOutput, error) {
	mark := bookmark{Query: fingerprint(id, q)}
	switch {
	case cursor != "":
		if err := mark.parse(cursor); err != nil {
			return nil, err
		}
		q.Start, q.End, q.Cursor = mark.Start, mark.End, mark.Place
	case q.Start == "" && q.End == "":
		// All pages are of one range, whatever time passes between them.
		now := time.Now().UTC().Truncate(time.Second)
		q.Start, q.End = now.AddDate(0, -6, 0).Format(time.RFC3339), now.AddDate(0, 6, 0).Format(time.RFC3339)
	}
	mark.Start, mark.End = q.Start, q.End
	page, err := user.ListEvents(ctx, q)
	if err != nil {
		return nil, err
	}
	events, err := fit(page.Events)
	if err != nil {
		return nil, err
	}
	page.Cut(len(events))
	out := &eventsOutput{beginning: began(), Events: events, Truncated: page.Truncated, Unreadable: page.Skipped, ending: endOf(page.TimeZone, page.Freshness)}
	if page.Cursor != "" {
		mark.Place = page.Cursor
		out.Cursor, err = mark.cursor()
	}
	return out, err
}

// bookmark is what a cursor says: where a page ended, in which range, and of which
// query. It holds nothing secret, and a made-up one finds nothing that a query would not.
type bookmark struct {
	Query string `json:"q"`
	Start string `json:"s,omitempty"`
	End   string `json:"e,omitempty"`
	Place string `json:"p"`
}

const maxCursor = 4 << 10

func (b bookmark) cursor() (string, error) {
	data, err := json.Marshal(b)
	return base64.RawURLEncoding.EncodeToString(data), err
}

// parse reads a cursor of the query whose fingerprint b has.
func (b *bookmark) parse(cursor string) error {
	got := bookmark{}
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(data, &got)
	}
	if err != nil || got.Place == "" || len(cursor) > maxCursor {
		return invalid("cursor", "%s is none; send the cursor that the page before gave, or leave it out to begin at the first.", shown(cursor))
	}
	if got.Query != b.Query {
		return invalid("cursor", "it belongs to a query with other parameters; send the same ones as for the page before, for example the same start and end, or leave cursor out.")
	}
	*b = got
	return nil
}

// fingerprint tells queries apart, whatever their pages.
func fingerprint(user string, q calendar.Query) string {
	q.Limit, q.Cursor = 0, ""
	if len(q.Tags) == 0 {
		q.Tags = nil // as if it were left out
	}
	data, err := json.Marshal([]any{user, q})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
