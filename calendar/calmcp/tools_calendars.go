package calmcp

import (
	"context"
	"time"

	"github.com/perdure/perdure/calendar"
)

type calendarsOutput struct {
	beginning
	Calendars []shownCalendar `json:"calendars"`
	ending
}

type calendarOutput struct {
	beginning
	Calendar shownCalendar `json:"calendar"`
	ending
}

type doneOutput struct {
	Success bool `json:"success"`
	ending
}

func calendarTools() []*tool {
	id := param{"id", text("Id of the calendar, as listCalendars gave it.", "personal")}
	name := param{"displayName", text("Name of the calendar.", "Work")}
	color := param{"color", text("Color as #rrggbb.", "#0082c9")}
	category := param{"category", text("Category of the calendar.", "work")}
	focus := param{"focusPriority", number("Focus priority, 1 to 10; 0 clears it.", 0, 10, 5)}

	list := newTool("listCalendars", "List calendars", "retrieve calendars",
		"Lists the user's calendars with their ids, rights and colors. Events of those with isHidden, birthdays and subscriptions are read only where a calendarId names them.",
		hints{reads: true}, record("", nil, sessionParam), outputSchema[calendarsOutput](about(nil)))
	list.run = listCalendars

	create := newTool("createCalendar", "Create a calendar", "create calendar",
		"Creates a calendar.",
		hints{}, record("", []string{"displayName"}, name, color, category, focus, sessionParam), outputSchema[calendarOutput](about(nil)))
	create.run = func(ctx context.Context, c *call) (output, error) {
		made, err := c.CreateCalendar(ctx, c.in.calendarChange())
		return &calendarOutput{beginning: began(), Calendar: showCalendar(made)}, err
	}

	update := newTool("updateCalendar", "Change a calendar", "update calendar",
		"Changes a calendar's name, color, category or focus priority. What is left out stays as it is; an empty category clears it.",
		hints{destroys: true, repeats: true}, record("", []string{"id"}, id, name, color, category, focus, sessionParam), outputSchema[calendarOutput](about(nil)))
	update.aliases = map[string]string{"calendarId": "id"}
	update.run = func(ctx context.Context, c *call) (output, error) {
		now, err := c.UpdateCalendar(ctx, c.in.ID, c.in.calendarChange())
		return &calendarOutput{beginning: began(), Calendar: showCalendar(now)}, err
	}

	gone := param{"id", text("Id of the calendar, as listCalendars gave it.", "old-project")}
	remove := newTool("deleteCalendar", "Delete a calendar", "delete calendar",
		"Deletes a calendar with all its events, or ends a share. The calendar personal and the default one can't be deleted.",
		hints{destroys: true, repeats: true}, record("", []string{"id"}, gone, sessionParam), outputSchema[doneOutput](map[string]string{"sessionId": "may be sent with the next call", "warnings": "what was ignored"}))
	remove.aliases = map[string]string{"calendarId": "id"}
	remove.run = func(ctx context.Context, c *call) (output, error) {
		return &doneOutput{Success: true}, c.DeleteCalendar(ctx, c.in.ID)
	}
	return []*tool{list, create, update, remove}
}

func listCalendars(ctx context.Context, c *call) (output, error) {
	got, err := c.ListCalendars(ctx)
	if err != nil {
		return nil, err
	}
	count := int64(len(got.Calendars))
	c.record = facts{LastCalendarFetch: time.Now().UnixMilli(), CalendarCount: &count}
	return &calendarsOutput{began(), showCalendars(got.Calendars), endOf(got.TimeZone, got.Freshness)}, nil
}

func (in *input) calendarChange() calendar.CalendarChange {
	return calendar.CalendarChange{DisplayName: in.DisplayName, Color: in.Color, Category: in.Category, Focus: in.Focus}
}
