package calendar

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/perdure/perdure/calendar/caldav"
)

// CalendarList is a user's calendars.
type CalendarList struct {
	Freshness
	Calendars []Calendar
	TimeZone  string // the user's
}

// ListCalendars returns the user's calendars in the server's order. Subscriptions,
// trash and other collections are none.
func (u *User) ListCalendars(ctx context.Context) (CalendarList, error) {
	l, err := u.calendars(ctx)
	if err != nil {
		return CalendarList{}, err
	}
	out := CalendarList{Freshness: l.fresh, Calendars: make([]Calendar, len(l.all)), TimeZone: l.zone(nil).String()}
	for i := range l.all {
		out.Calendars[i] = l.calendar(&l.all[i])
	}
	return out, nil
}

// CreateCalendar makes a calendar. displayName is needed.
func (u *User) CreateCalendar(ctx context.Context, c CalendarChange) (out Calendar, err error) {
	if !c.DisplayName.Set {
		return Calendar{}, invalid("displayName", "it is missing; send a name for the calendar, for example %q.", "Work")
	}
	if err := c.check(); err != nil {
		return Calendar{}, err
	}
	if c.Color.Value == "" {
		c.Color = To(DefaultColor)
	}
	acct, l, err := u.accountAndCalendars(ctx)
	if err != nil {
		return Calendar{}, err
	}
	if len(l.home.Sets) == 0 {
		return Calendar{}, forbidden("The calendar server has no place for this user's calendars.")
	}
	defer u.calendarsChanged(ctx, &err)
	href := caldav.Join(l.home.Sets[0], newName(c.DisplayName.Value)) + "/"
	made, err := acct.Client.CreateCalendar(ctx, href, c.props())
	if err != nil {
		return Calendar{}, explain("The calendar", err)
	}
	col := newCollection(l.home, &made)
	if err = u.keepNote(ctx, l, &col, &c); err != nil {
		return Calendar{}, err
	}
	// A server lists calendars in an order of its own: the new one must not become the default.
	if d := l.defaultCalendar(); d != nil && d.ID != "personal" && d.ID != l.settings.DefaultCalendar {
		if l.settings, err = u.change(ctx, SettingsChange{DefaultCalendar: To(d.ID)}); err != nil {
			return Calendar{}, err
		}
	}
	l.all = append(l.all, col)
	return l.calendar(&col), nil
}

// UpdateCalendar changes properties of a calendar.
func (u *User) UpdateCalendar(ctx context.Context, id string, c CalendarChange) (out Calendar, err error) {
	if c.IsEmpty() {
		return Calendar{}, &Problem{Kind: ErrInvalid, Text: "No update parameters provided. Send at least one of displayName, color, category, focusPriority."}
	}
	if err := c.check(); err != nil {
		return Calendar{}, err
	}
	acct, l, col, err := u.find(ctx, id)
	if err != nil {
		return Calendar{}, err
	}
	defer u.calendarsChanged(ctx, &err)
	if err = acct.Client.UpdateCalendar(ctx, col.Href, c.props()); err != nil {
		return Calendar{}, explain("The calendar", err)
	}
	now, err := acct.Client.GetCalendar(ctx, col.Href)
	if err != nil {
		return Calendar{}, explain("The calendar", &caldav.StoredError{Href: col.Href, Err: err})
	}
	*col = newCollection(l.home, &now)
	if err = u.keepNote(ctx, l, col, &c); err != nil {
		return Calendar{}, err
	}
	return l.calendar(col), nil
}

// DeleteCalendar deletes a calendar with its events, or ends a share. "personal" and
// the default one are refused.
func (u *User) DeleteCalendar(ctx context.Context, id string) (err error) {
	acct, l, col, err := u.find(ctx, id)
	if err != nil {
		return err
	}
	if col.ID == "personal" {
		return forbidden("%q is the calendar that the server made for the user and can't be deleted; delete its events instead.", id)
	}
	if d := l.defaultCalendar(); id == l.settings.DefaultCalendar || d != nil && d.ID == id {
		return forbidden("%q is the default calendar and can't be deleted; make another one the default first, or delete its events.", id)
	}
	defer u.calendarsChanged(ctx, &err)
	if err = acct.Client.DeleteCalendar(ctx, col.Href); err != nil && !errors.Is(err, caldav.ErrNotFound) {
		return explain("The calendar", err)
	}
	if err = u.drop(ctx, eventsKey+col.Href); err != nil {
		return err
	}
	if _, ok := l.settings.Calendars[id]; ok || slices.Contains(l.settings.HiddenCalendars, id) {
		change := SettingsChange{Calendars: map[string]*Note{id: nil}}
		change.HiddenCalendars = To(slices.DeleteFunc(slices.Clone(l.settings.HiddenCalendars), func(h string) bool { return h == id }))
		_, err = u.change(ctx, change)
	}
	return err
}

// newName makes the last name of a new calendar's href: never used before, as servers
// hold on to the names of deleted ones, with something to recognize it by.
func newName(displayName string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(displayName) {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 32 {
			break
		}
	}
	return strings.TrimLeft(strings.TrimRight(b.String(), "-")+"-"+randomHex(6), "-")
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// keepNote keeps our copy of category and focus priority after they were written, and
// whether the server gives them back.
func (u *User) keepNote(ctx context.Context, l *listing, col *collection, c *CalendarChange) error {
	if !c.Category.Set && !c.Focus.Set {
		return nil
	}
	note := l.settings.Calendars[col.ID]
	if c.Category.Set {
		note.Category = c.Category.Value
	}
	if c.Focus.Set {
		note.Focus = c.Focus.Value
	}
	note.Kept = col.Category == note.Category && col.Focus == note.Focus && (note.Category != "" || note.Focus != 0)
	s, err := u.change(ctx, SettingsChange{Calendars: map[string]*Note{col.ID: &note}})
	l.settings = s
	return err
}

// calendarsChanged invalidates the copy of the list after a write, be it one that may
// have failed.
func (u *User) calendarsChanged(ctx context.Context, err *error) {
	u.svc.listings.forget(u.id + "\x00")
	_, patchErr := u.patch(context.WithoutCancel(ctx), listKey, 0, nil)
	if *err == nil {
		*err = patchErr
		u.svc.notify(Change{User: u.id, Calendars: true, Ours: true})
	}
}

func (u *User) accountAndCalendars(ctx context.Context) (Account, *listing, error) {
	acct, err := u.account(ctx)
	if err != nil {
		return acct, nil, err
	}
	l, err := u.calendars(ctx)
	return acct, l, err
}

// find returns a calendar by its id. One that the copy of the list does not have is
// looked for at the server: another client may just have made it.
func (u *User) find(ctx context.Context, id string) (Account, *listing, *collection, error) {
	acct, l, err := u.accountAndCalendars(ctx)
	if err != nil {
		return acct, nil, nil, err
	}
	col, err := l.find(id)
	if errors.Is(err, ErrNotFound) && !l.asked && !l.fresh.Stale {
		if l, err = u.calendarsNow(ctx, acct, true); err == nil {
			col, err = l.find(id)
		}
	}
	return acct, l, col, err
}
