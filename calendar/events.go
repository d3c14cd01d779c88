package calendar

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// Scopes of a change.
const (
	ScopeEvent      = "event"      // a single event
	ScopeSeries     = "series"     // all occurrences of a series
	ScopeOccurrence = "occurrence" // one of them
)

// Edit says which part of an event is meant, and how.
type Edit struct {
	// RecurrenceID is that of one occurrence; "" means the event, or the whole series.
	RecurrenceID string

	// ETag is the one that the caller read the event with; the edit is an ErrConflict
	// if the event has another by now. "" asks for no such check.
	ETag string

	// Notify false keeps the server from writing to participants about this change, and is an
	// ErrForbidden where that can't be had. Nil leaves it as it is: whom it has never written
	// to, as all changes were silent, hears nothing before one with Notify true.
	Notify *bool
}

// Result is an event after reading or changing it.
type Result struct {
	Freshness
	Event    Event
	Scope    string
	TimeZone string   // in which local times were read
	Notified []string // whom the server writes to because of the change
	Warnings []string // what the change did, or how it was understood, that the caller may not expect
}

// GetEvent returns an event, a series as it is written, or one occurrence of it.
func (u *User) GetEvent(ctx context.Context, calendarID, eventID, recurrenceID string) (Result, error) {
	t, err := u.target(ctx, calendarID, eventID)
	if err != nil {
		return Result{}, err
	}
	cal, err := t.o.parse()
	if err != nil {
		return Result{}, unreadable(err)
	}
	e, err := eventAt(cal, recurrenceID, t.zone)
	if errors.Is(err, ErrNotFound) && t.fresh.Stale {
		err = unasked("The calendar server does not answer, and in the last copy the event has no occurrence %q.", clip(recurrenceID, 60))
	}
	if err != nil {
		return Result{}, err
	}
	return Result{Freshness: t.fresh, Event: dress(e, t.c, t.o), Scope: scope(cal, recurrenceID), TimeZone: t.zone.String()}, nil
}

// target is an event that a caller named.
type target struct {
	u     *User
	acct  Account
	l     *listing
	c     *collection
	o     *object // as it is in the copy
	saw   *object // as it was in the copy that was served last: what the caller may have seen
	zone  *time.Location
	fresh Freshness

	notified []string // whom the server writes to because of what was done
	warnings []string // what was done otherwise than the caller may think
}

func newTarget(u *User, acct Account, l *listing, c *collection) *target {
	if !acct.Inside && !l.home.StoresAsSent() {
		acct.Client = acct.Client.ReadingBack()
	}
	return &target{u: u, acct: acct, l: l, c: c, zone: l.zone(c)}
}

func (u *User) target(ctx context.Context, calendarID, eventID string) (*target, error) {
	acct, l, c, err := u.find(ctx, calendarID)
	if err != nil {
		return nil, err
	}
	t := newTarget(u, acct, l, c)
	// The copy from before it is compared with the server, which may bring in what the
	// caller never saw. One that a write of ours left behind tells nothing of that.
	head, last, err := u.load(ctx, acct.Source, c.Href)
	if err != nil {
		return nil, err
	}
	if last != nil && head.Checked != 0 {
		t.saw = last.ids[eventID]
	}
	for _, ask := range []bool{false, true} { // another client may just have made it
		var img *image
		img, t.fresh, err = u.objectsOf(ctx, acct, c, l.versionOf(c), ask)
		if err != nil {
			return nil, err
		}
		if t.o = img.ids[eventID]; t.o != nil {
			if t.saw == nil {
				t.saw = t.o
			}
			return t, nil
		}
	}
	if t.fresh.Stale {
		return nil, unasked("The calendar server does not answer, and the last copy of calendar %q has no event %q.", clip(calendarID, 80), clip(eventID, 80))
	}
	return nil, notFound("There is no event %q in calendar %q. Send the id of an event as listEvents gave it, with the calendarId that stands beside it.",
		clip(eventID, 80), clip(calendarID, 80))
}

func unreadable(err error) error {
	return &Problem{Kind: ErrInvalid, Err: err, Text: "This event's data can't be read as iCalendar."}
}

// masterOf is the component that stands for the whole object: not one occurrence, unless
// there is nothing but one.
func masterOf(cal *ical.Calendar) *ical.Component {
	events := cal.Components("VEVENT")
	for _, c := range events {
		if c.Property("RECURRENCE-ID") == nil {
			return c
		}
	}
	if len(events) == 1 {
		return events[0]
	}
	return nil
}

func scope(cal *ical.Calendar, recurrenceID string) string {
	m := masterOf(cal)
	switch {
	case recurrenceID != "":
		return ScopeOccurrence
	case m != nil && (m.Property("RRULE") != nil || m.Property("RDATE") != nil), len(cal.Components("VEVENT")) > 1:
		return ScopeSeries
	}
	return ScopeEvent
}

// eventAt reads an event: an occurrence if a recurrence id is given, else the master.
func eventAt(cal *ical.Calendar, recurrenceID string, zone *time.Location) (Event, error) {
	obj := ical.NewObject(cal, zone)
	if recurrenceID == "" {
		in, ok := seriesOf(cal, obj, zone)
		if !ok { // another's series, of which only some occurrences are here
			ex := obj.Expand(time.Time{}, time.Time{}, &ical.ExpandOptions{MaxInstances: 1})
			if len(ex.Instances) == 0 {
				return Event{}, notFound("There is no event in this object that can be read.")
			}
			in = ex.Instances[0]
		}
		return readEvent(cal, in, zone), nil
	}
	id, err := parseRecurrenceID(recurrenceID, zone)
	if err != nil {
		return Event{}, err
	}
	in, err := obj.Occurrence("", id)
	if err != nil {
		return Event{}, noOccurrence(recurrenceID, err)
	}
	return readEvent(cal, in, zone), nil
}

func noOccurrence(id string, err error) error {
	if !errors.Is(err, ical.ErrNoOccurrence) {
		return tooMuch(err)
	}
	return notFound("The event has no occurrence %q. Send the recurrenceId of an occurrence as listEvents gave it; for an event that does not recur leave it out.", clip(id, 60))
}

func (t *target) writable() error {
	if !t.c.Allowed.CanWrite {
		return forbidden("The calendar %q is read-only for you. Send the calendarId of one that is not.", t.c.ID)
	}
	return nil
}

// people are the user's own addresses. The first is the one that the server knows, if it
// knows any: invitations under others it would not send.
func (l *listing) people(acct Account) people {
	var own people
	for _, address := range slices.Concat(l.home.Addresses, l.settings.Addresses, acct.Addresses) {
		key := addressKey(address)
		path := strings.HasPrefix(key, "/") || strings.Contains(key, "://") // of a principal, which some servers tell as well
		if strings.Contains(key, "@") && !path && !own.has(key) {
			own = append(own, key)
		}
	}
	return own
}

// schedules says whether the server writes to participants by itself (RFC 6638).
func (l *listing) schedules() bool {
	for _, f := range l.home.Features {
		if f == "calendar-auto-schedule" {
			return true
		}
	}
	return false
}

// CreateEvent stores a new event. title and start are needed; without an end it lasts an
// hour, or a day. Without a calendar id it goes to the default calendar.
func (u *User) CreateEvent(ctx context.Context, calendarID string, change EventChange, notify *bool) (Result, error) {
	switch {
	case !change.Title.Set:
		return Result{}, invalid("title", "it is missing; send some text, for example %q.", "Dentist")
	case change.Start.Value == "":
		return Result{}, invalid("start", "it is missing; %s.", dateHelp)
	}
	if err := change.check(); err != nil {
		return Result{}, err
	}
	t, err := u.place(ctx, calendarID)
	if err != nil {
		return Result{}, err
	}
	uid := randomHex(16)
	cal, comp := newObject(uid, time.Now())
	own := t.l.people(t.acct)
	if change.End.Value == "" {
		change.End.Set = false
	}
	e := &edit{cal: cal, comp: comp, change: &change, zone: t.zone, own: own, master: true, help: t.u.svc.opts.AddressHelp}
	if err := e.apply(); err != nil {
		return Result{}, err
	}
	e.warnUnsent(t.l.schedules())
	t.warnings = e.warnings
	if err := t.occurs(cal); err != nil {
		return Result{}, err
	}
	if notify != nil && !*notify {
		t.hush()
		silence(comp, nil)
	}
	if t.l.schedules() {
		t.notified = own.notified(cal, uid)
	}
	if err := t.store(ctx, memberHref(t.c.Href, uid), "", cal.Bytes()); err != nil {
		return Result{}, err
	}
	return t.result(cal, "", &change)
}

// hush asks the server to write to nobody about what is done from now on.
func (t *target) hush() { t.acct.Client = t.acct.Client.Quiet() }

// mayHush refuses to ask a server for silence that would tell those it has invited nevertheless.
func (t *target) mayHush() error {
	if !t.l.schedules() || t.l.home.KeepsQuiet() {
		return nil
	}
	return &Problem{Kind: ErrForbidden, Field: "notify",
		Text: "this calendar server writes to the participants of a meeting about every change, and is not known to be kept from it. Leave notify out, or don't make the change."}
}

// place is where a new event goes.
func (u *User) place(ctx context.Context, calendarID string) (*target, error) {
	var c *collection
	acct, l, err := u.accountAndCalendars(ctx)
	if err == nil && calendarID != "" {
		acct, l, c, err = u.find(ctx, calendarID)
	}
	if err != nil {
		return nil, err
	}
	if c == nil {
		if c = l.defaultCalendar(); c == nil {
			return nil, forbidden("There is no calendar to write to. Make one with createCalendar first.")
		}
	}
	t := newTarget(u, acct, l, c)
	if !c.Events {
		return nil, forbidden("The calendar %q takes no events. Send the calendarId of one that does.", c.ID)
	}
	return t, t.writable()
}

// occurs refuses a series without a single occurrence, which servers do as well.
func (t *target) occurs(cal *ical.Calendar) error {
	ex := ical.NewObject(cal, t.zone).Expand(time.Time{}, time.Time{}, &ical.ExpandOptions{MaxInstances: 1})
	if len(ex.Instances) == 0 {
		return invalid("recurrenceRule", "the series has no occurrence with this start, rule and exceptions; send an until after the start, or fewer exDates.")
	}
	return nil
}

// result is what a write answers; t.o is the object as it was stored, cal as it was sent.
func (t *target) result(cal *ical.Calendar, recurrenceID string, change *EventChange) (Result, error) {
	e, err := eventAt(cal, recurrenceID, t.zone)
	if err != nil {
		return Result{}, err
	}
	if stored, err := t.o.parse(); err == nil {
		if now, err := eventAt(stored, recurrenceID, t.zone); err == nil {
			cal, e = stored, now
		}
		if len(t.notified) > 0 {
			var warning string
			if t.notified, warning = undelivered(stored, t.notified); warning != "" {
				t.warnings = append(t.warnings, warning)
			}
		}
	}
	r := Result{Event: dress(e, t.c, t.o), Scope: scope(cal, recurrenceID), TimeZone: t.zone.String(), Notified: t.notified, Warnings: t.warnings}
	if change.TimeZone.Value != "" {
		if loc := namedZone(change.TimeZone.Value); loc != nil {
			r.TimeZone = loc.String()
		}
	}
	return r, nil
}

// UpdateEvent changes what is asked for in an event, in a whole series, or in one
// occurrence, which then gets an override. Everything else stays as it is on the server
// at that moment.
//
// It is an ErrConflict if the caller's ETag no longer holds, or if a field asked for is
// another on the server than in the copy that was last served to the user, unless it is
// already what was asked for. A caller that shares the user with others, who may have read
// since, is safe with the ETag alone.
func (u *User) UpdateEvent(ctx context.Context, calendarID, eventID string, change EventChange, how Edit) (Result, error) {
	if change.IsEmpty() {
		text := "No update parameters provided. Send at least one field to change, for example title."
		if change.TimeZone.Set {
			text = "No update parameters provided. timeZone says how start and end are read; send start as well to move the event."
		}
		return Result{}, &Problem{Kind: ErrInvalid, Text: text}
	}
	wrong := change.check()
	t, err := u.target(ctx, calendarID, eventID)
	if wrong != nil && err == nil {
		wrong = change.check(t.known(how.RecurrenceID)...)
	}
	if wrong != nil {
		return Result{}, wrong
	}
	if err == nil {
		err = t.writable()
	}
	if err != nil {
		return Result{}, err
	}
	return t.rewrite(ctx, how, func(cal *ical.Calendar) (bool, error) {
		return t.applyChange(cal, &change, how)
	}, func(cal *ical.Calendar) (Result, error) {
		return t.result(cal, how.RecurrenceID, &change)
	})
}

// applyChange changes a fresh object, and finds conflicts with what the caller saw.
// It says whether there is anything to write.
func (t *target) applyChange(cal *ical.Calendar, change *EventChange, how Edit) (bool, error) {
	t.notified = nil
	before, err := eventAt(cal, how.RecurrenceID, t.zone)
	if err != nil {
		return false, err
	}
	comp := masterOf(cal)
	events := len(cal.Components("VEVENT"))
	master := comp != nil && comp.Property("RECURRENCE-ID") == nil
	if how.RecurrenceID != "" {
		id, err := parseRecurrenceID(how.RecurrenceID, t.zone)
		if err != nil {
			return false, err
		}
		if comp, err = cal.Override("", id, t.zone); err != nil {
			return false, noOccurrence(how.RecurrenceID, err)
		}
		if id := comp.Property("RECURRENCE-ID"); id != nil && strings.EqualFold(id.Param("RANGE"), "THISANDFUTURE") {
			return false, invalid("recurrenceId", "another program changed the series from this occurrence on, so it can't be changed without the later ones; change a later occurrence, or leave recurrenceId out to change the series.")
		}
		master = false
	}
	if comp == nil {
		return false, invalid("recurrenceId", "only single occurrences of this series are in the calendar; send the recurrenceId of one.")
	}
	made := len(cal.Components("VEVENT")) > events
	uid, own := comp.Text("UID"), t.l.people(t.acct)
	notified, there := own.notified(cal, uid), participants(cal, uid)
	rev := newRevision(cal)
	e := &edit{cal: cal, comp: comp, change: change, zone: t.zone, own: own, master: master,
		help: t.u.svc.opts.AddressHelp, organizer: own.foreignOrganizer(cal, uid)}
	if err := e.apply(); err != nil {
		return false, err
	}
	e.warnUnsent(t.l.schedules())
	t.warnings = e.warnings
	switch {
	case how.Notify == nil && e.organizer == nil && silent(comp):
		silence(comp, there) // who is new as well
	case how.Notify == nil:
	case !*how.Notify:
		if len(notified) > 0 && (e.organizer == nil || made && own.attends(comp)) {
			if err := t.mayHush(); err != nil {
				return false, err
			}
		}
		t.hush()
		if e.organizer == nil {
			silence(comp, there)
		}
	case t.l.schedules() && e.organizer == nil:
		speak(comp)
	}
	if err := t.occurs(cal); err != nil {
		return false, err
	}
	after, err := eventAt(cal, how.RecurrenceID, t.zone)
	if err != nil {
		return false, err
	}
	if how.ETag == "" {
		if seen, err := t.seen(how.RecurrenceID); err == nil {
			if fields := change.conflicts(&seen, &before, &after); len(fields) > 0 {
				return false, &Problem{Kind: ErrConflict, Field: fields[0],
					Text: "someone else changed it since you read the event (changed: " + strings.Join(fields, ", ") + "). Read the event again, then repeat the change if it is still right."}
			}
		}
	}
	if !rev.stamp(time.Now(), e.organizer != nil) {
		return false, nil
	}
	switch {
	case !t.l.schedules() || how.Notify != nil && !*how.Notify:
	case e.organizer == nil: // those who are left out hear of it, too
		t.notified = distinct(append(notified, own.notified(cal, uid)...))
	case made && own.attends(comp): // an answer of its own goes out for the occurrence
		t.notified = notified
	}
	return true, nil
}

// known is what the caller may have read of the event.
func (t *target) known(recurrenceID string) []*Event {
	var out []*Event
	for _, o := range []*object{t.saw, t.o} {
		cal, err := o.parse()
		if err != nil {
			continue
		}
		if e, err := eventAt(cal, recurrenceID, t.zone); err == nil {
			out = append(out, &e)
		}
	}
	return out
}

// seen is the event as it was in the copy that was served last.
func (t *target) seen(recurrenceID string) (Event, error) {
	cal, err := t.saw.parse()
	if err != nil {
		return Event{}, err
	}
	return eventAt(cal, recurrenceID, t.zone)
}

// DeleteEvent deletes an event, a whole series, or one occurrence of it, which then is
// an exception of the series. With its last occurrence a series is deleted.
func (u *User) DeleteEvent(ctx context.Context, calendarID, eventID string, how Edit) (Result, error) {
	t, err := u.target(ctx, calendarID, eventID)
	if err == nil {
		err = t.writable()
	}
	if err != nil {
		return Result{}, err
	}
	return t.rewrite(ctx, how, func(cal *ical.Calendar) (bool, error) {
		return true, t.applyDeletion(cal, how)
	}, func(cal *ical.Calendar) (Result, error) {
		return Result{Scope: scope(cal, how.RecurrenceID), TimeZone: t.zone.String(), Notified: t.notified, Warnings: t.warnings}, nil
	})
}

// applyDeletion takes an occurrence out of a fresh object. It returns errDelete where
// nothing is left, or nothing is to be left.
func (t *target) applyDeletion(cal *ical.Calendar, how Edit) error {
	uid, own := "", t.l.people(t.acct)
	if events := cal.Components("VEVENT"); len(events) > 0 {
		uid = events[0].Text("UID")
	}
	t.notified, t.warnings = nil, nil
	others := own.foreignOrganizer(cal, uid) != nil
	if how.Notify != nil && !*how.Notify {
		// Who deletes another's meeting may do so in silence everywhere (RFC 6638, section 8.1).
		leaves := how.RecurrenceID == "" && others && !t.c.Theirs
		if !leaves && len(own.notified(cal, uid)) > 0 {
			if err := t.mayHush(); err != nil {
				return err
			}
		}
		t.hush()
	} else if t.l.schedules() && !(others && t.c.Theirs) {
		t.notified = own.notified(cal, uid)
	} else if t.l.schedules() && len(own.notified(cal, uid)) > 0 {
		// The calendar's owner does not leave: sabre cancels his meeting, Cyrus is silent.
		t.warnings = []string{"the meeting is somebody else's, and so is the calendar: whether the calendar server writes to anybody is up to it"}
	}
	if how.RecurrenceID == "" {
		return errDelete
	}
	id, err := parseRecurrenceID(how.RecurrenceID, t.zone)
	if err != nil {
		return err
	}
	rev := newRevision(cal)
	if err := cal.Exclude("", id, t.zone); err != nil {
		return noOccurrence(how.RecurrenceID, err)
	}
	if t.occurs(cal) != nil {
		return errDelete
	}
	rev.stamp(time.Now(), others)
	return nil
}
