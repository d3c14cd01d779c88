package calmcp

import (
	"context"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/perdure/perdure/calendar"
)

type eventOutput struct {
	beginning
	Event    listed   `json:"event"`
	Scope    string   `json:"scope"`
	Notified []string `json:"notified,omitempty"`
	ending
}

type deletedOutput struct {
	beginning
	Scope    string   `json:"scope"`
	Notified []string `json:"notified,omitempty"`
	ending
}

const (
	dates     = "YYYY-MM-DD, local YYYY-MM-DDTHH:MM:SS, or with Z or an offset"
	aboutZone = "IANA time zone in which local times are read; the user's by default."
)

var (
	scopes   = "event, series (all occurrences) or occurrence (this one alone)"
	notified = "whom the calendar server writes to because of this"
)

func eventTools() []*tool {
	inCalendar := param{"calendarId", text("Id of the event's calendar.", "personal")}
	event := param{"eventId", text("Id of the event, as listEvents gave it.", "4f1c9a0e5b7d4c2a")}
	occurrence := func(description string) param {
		return param{"recurrenceId", text(description, "2026-03-10T08:00:00Z")}
	}
	etag := param{"etag", text("The etag that the event was read with: then nothing is done if it changed since.", `"5f3a"`)}
	notify := param{"notify", flag("false: the calendar server writes to nobody about this.", false)}
	whole := []string{"calendarId", "eventId"}

	read := newTool("getEventById", "Read an event", "retrieve event",
		"Reads one event in full: a series as it is written, or with recurrenceId one of its occurrences.",
		hints{reads: true}, record("", whole, inCalendar, event, occurrence("The recurrenceId of one occurrence of a series."), sessionParam),
		outputSchema[eventOutput](about(map[string]string{"scope": scopes, "notified": notified})))
	read.run = func(ctx context.Context, c *call) (output, error) {
		return answer(c.GetEvent(ctx, c.in.CalendarID, c.in.EventID, c.in.RecurrenceID))
	}

	create := newTool("createEvent", "Create an event", "create event",
		"Creates an event. Without end it lasts an hour, or with plain dates a day; the end of an all-day event is its last day, inclusive. With participants the calendar server may write to them, unless notify is false; the result says to whom.",
		hints{writes: true},
		record("", []string{"title", "start"}, append([]param{{"calendarId", text("Id of the calendar; the default one if left out.", "personal")}}, append(eventParams(false), notify, sessionParam)...)...),
		outputSchema[eventOutput](about(map[string]string{"scope": scopes, "notified": notified})))
	create.aliases = map[string]string{"summary": "title"}
	create.run = func(ctx context.Context, c *call) (output, error) {
		return answer(c.CreateEvent(ctx, c.in.CalendarID, c.in.EventChange, c.in.Notify))
	}

	update := newTool("updateEvent", "Change an event", "update event",
		"Without recurrenceId this changes the whole event: of a series all occurrences. With the recurrenceId of an occurrence it changes that one alone. Only what is sent changes; \"\", [] or null clears a field; a new start alone keeps the duration. Participants are the whole list; those who stay keep their answers. Of a meeting that somebody else organizes only reminders and color can be changed. The calendar server may write to participants, unless notify is false; the result says to whom.",
		hints{destroys: true, repeats: true, writes: true},
		record("", whole, append([]param{inCalendar, event, occurrence("Changes this occurrence of a series alone. Without it the whole series changes.")}, append(eventParams(true), etag, notify, sessionParam)...)...),
		outputSchema[eventOutput](about(map[string]string{"scope": scopes, "notified": notified})))
	update.aliases = map[string]string{"summary": "title"}
	update.run = func(ctx context.Context, c *call) (output, error) {
		return answer(c.UpdateEvent(ctx, c.in.CalendarID, c.in.EventID, c.in.EventChange, c.in.edit()))
	}

	remove := newTool("deleteEvent", "Delete an event", "delete event",
		"Without recurrenceId this deletes the whole event: of a series all occurrences. With the recurrenceId of an occurrence it deletes that one alone. Of a meeting that somebody else organizes the user's copy is deleted, which may decline it. The calendar server may write to participants, unless notify is false; the result says to whom.",
		hints{destroys: true, repeats: true, writes: true},
		record("", whole, inCalendar, event, occurrence("Deletes this occurrence of a series alone. Without it the whole series is deleted."), etag, notify, sessionParam),
		outputSchema[deletedOutput](about(map[string]string{"scope": scopes, "notified": notified})))
	remove.run = func(ctx context.Context, c *call) (output, error) {
		r, err := c.DeleteEvent(ctx, c.in.CalendarID, c.in.EventID, c.in.edit())
		end := endOf(r.TimeZone, r.Freshness)
		end.Warnings = r.Warnings
		out := &deletedOutput{beginning{Success: true}, r.Scope, r.Notified, end}
		if len(r.Notified) > 0 {
			out.Notice = notice
		}
		return out, err
	}
	return []*tool{listEventsTool(), read, create, update, remove}
}

// eventParams are the fields of an event; change says that they are those of a change.
func eventParams(change bool) []param {
	clears := func(s string) string {
		if change {
			return s + ` "" clears it.`
		}
		return s
	}
	recurrence := record("Repeats the event. The whole rule is replaced.", []string{"frequency"},
		param{"frequency", words("How often.", "daily", "weekly", "monthly", "yearly")},
		param{"interval", number("Every so many days, weeks, months or years.", 1, 1000, 2)},
		param{"until", text("Last day or time ("+dates+"). Not with count.", "2026-12-31")},
		param{"count", number("Number of occurrences. Not with until.", 1, 100_000, 10)},
		param{"byDay", list("Weekdays; monthly and yearly rules may number them.", text("MO to SU, 2TU, -1FR.", "MO"), []string{"MO", "WE"})},
		param{"byMonthDay", list("Days of the month, -1 the last.", number("A day.", -31, 31, 15), []int{15})},
		param{"byMonth", list("Months.", number("A month.", 1, 12, 3), []int{3})},
		param{"bySetPos", list("Which of the days that the rest of the rule selects.", number("A position, -1 the last.", -366, 366, -1), []int{-1})},
		param{"exDates", list("Occurrences that are left out.", text(dates, "2026-03-17"), []string{"2026-03-17"})})
	recurrence.Examples = []any{map[string]any{"frequency": "weekly", "byDay": []string{"MO"}}}
	title, start := "Title of the event.", "Start: "+dates+"."
	if change {
		rule := recurrence
		recurrence = orNull(rule)
		recurrence.Description, recurrence.Examples = rule.Description+" null: it repeats no more.", rule.Examples
		rule.Description = ""
		start += " Alone it keeps the duration."
	}
	return []param{
		{"title", text(title, "Dentist")},
		{"start", text(start, "2026-03-10T09:00:00")},
		{"end", text("End: "+dates+". Of an all-day event its last day.", "2026-03-10T10:00:00")},
		{"timeZone", text(aboutZone, "Europe/Vienna")},
		{"isAllDay", flag("Whether it lasts whole days; plain dates alone say so too.", true)},
		{"description", text(clears("Description."), "Bring the X-ray.")},
		{"location", text(clears("Where it is."), "Main Street 1")},
		{"color", text(clears("Color: #rrggbb or a CSS name."), "#0082c9")},
		{"status", words("Status.", "confirmed", "tentative", "cancelled")},
		{"visibility", words("Who sees the details.", "public", "private", "confidential")},
		{"availability", words("Whether the time is taken.", "busy", "free")},
		{"adhdCategory", text(clears("focus, routine, important, urgent, long-term, quick-task, high-energy, low-energy, personal, work, or a name of at most 30 characters."), "focus")},
		{"focusPriority", number("Focus priority, 1 to 10; 0 clears it.", 0, 10, 5)},
		{"energyLevel", number("Energy it takes, 1 to 5; 0 clears it.", 0, 5, 3)},
		{"categories", list("Tags.", text("A tag.", "health"), []string{"health"})},
		{"participants", list("Who takes part.", participant(), []any{map[string]any{"email": "anna@example.org"}})},
		{"recurrenceRule", recurrence},
		{"reminders", list("Alarms before the start.", record("", []string{"minutesBefore"},
			param{"type", words("How.", "notification", "email")},
			param{"minutesBefore", number("Minutes before the start.", 0, 527_040, 15)}), []any{map[string]any{"type": "notification", "minutesBefore": 15}})},
		{"relatedTasks", list("Ids of tasks that belong to it.", text("An id.", "task-7"), []string{"task-7"})},
	}
}

func participant() *jsonschema.Schema {
	return record("", []string{"email"},
		param{"email", text("Mail address.", "anna@example.org")},
		param{"name", text("Name.", "Anna")},
		param{"status", words("The answer.", "needs-action", "accepted", "declined", "tentative")},
		param{"role", words("Whether needed.", "required", "optional")},
		param{"type", words("What it is.", "individual", "group", "resource", "room")})
}

func (in *input) edit() calendar.Edit {
	return calendar.Edit{RecurrenceID: in.RecurrenceID, ETag: in.ETag, Notify: in.Notify}
}

func answer(r calendar.Result, err error) (output, error) {
	if err != nil {
		return nil, err
	}
	e, err := inFull(r.Event)
	end := endOf(r.TimeZone, r.Freshness)
	end.Warnings = r.Warnings
	return &eventOutput{began(), e, r.Scope, r.Notified, end}, err
}
