package calendar

import "reflect"

// field is a part of a change with the part of an event that it sets.
type field struct {
	name string
	set  bool
	get  func(*Event) any
}

func (c *EventChange) fields() []field {
	return []field{
		{"title", c.Title.Set, func(e *Event) any { return e.Title }},
		{"description", c.Description.Set, func(e *Event) any { return e.Description }},
		{"start", c.Start.Set, func(e *Event) any { return e.Start }},
		{"end", c.End.Set, func(e *Event) any { return e.End }},
		{"isAllDay", c.IsAllDay.Set, func(e *Event) any { return e.IsAllDay }},
		{"location", c.Location.Set, func(e *Event) any { return e.Location }},
		{"participants", c.Participants.Set, func(e *Event) any { return invited(e) }},
		{"recurrenceRule", c.Recurrence.Set, func(e *Event) any { return e.Recurrence }},
		{"status", c.Status.Set, func(e *Event) any { return e.Status }},
		{"visibility", c.Visibility.Set, func(e *Event) any { return e.Visibility }},
		{"availability", c.Availability.Set, func(e *Event) any { return e.Availability }},
		{"reminders", c.Reminders.Set, func(e *Event) any { return planned(e) }},
		{"color", c.Color.Set, func(e *Event) any { return e.Color }},
		{"categories", c.Categories.Set, func(e *Event) any { return e.Categories }},
		{"adhdCategory", c.ADHDCategory.Set, func(e *Event) any { return e.ADHDCategory }},
		{"focusPriority", c.Focus.Set, func(e *Event) any { return e.Focus }},
		{"energyLevel", c.Energy.Set, func(e *Event) any { return e.Energy }},
		{"relatedTasks", c.RelatedTasks.Set, func(e *Event) any { return e.RelatedTasks }},
	}
}

// invited is who takes part. An answer is the participant's own: one that came in
// meanwhile is kept by the change and no conflict.
func invited(e *Event) any {
	var out []Participant
	for _, p := range e.Participants {
		p.Status, p.Comment = "", ""
		out = append(out, p)
	}
	return out
}

// planned leaves out whether a reminder went off meanwhile.
func planned(e *Event) any {
	var out []Reminder
	for _, r := range e.Reminders {
		r.IsSent = false
		out = append(out, r)
	}
	return out
}

// conflicts returns the fields asked for that somebody changed since the caller saw
// them, to something else than was asked for.
func (c *EventChange) conflicts(seen, now, after *Event) []string {
	var out []string
	for _, f := range c.fields() {
		if f.set && !reflect.DeepEqual(f.get(seen), f.get(now)) && !reflect.DeepEqual(f.get(now), f.get(after)) {
			out = append(out, f.name)
		}
	}
	return out
}
