package calendar

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/durable"
)

// Settings are what a user has set here, apart from the calendar server.
type Settings struct {
	TimeZone        string          `json:"timeZone,omitempty"`        // IANA name
	DefaultCalendar string          `json:"defaultCalendar,omitempty"` // id
	HiddenCalendars []string        `json:"hiddenCalendars,omitempty"` // ids: left out where no calendar is named
	Addresses       []string        `json:"addresses,omitempty"`       // mail addresses of the user's, besides those that the server tells
	Calendars       map[string]Note `json:"calendars,omitempty"`       // our copy of what servers may not keep, by id
}

// Note is what is known of a calendar besides what its server keeps.
type Note struct {
	Category string `json:"category,omitempty"`
	Focus    int    `json:"focusPriority,omitempty"`

	// Kept says that the server gave this back when it was written: what it gives then
	// counts, nothing included.
	Kept bool `json:"kept,omitempty"`
}

// SettingsChange sets some of the settings. A note whose value is nil is removed.
type SettingsChange struct {
	TimeZone        Opt[string]      `json:"timeZone,omitzero"`
	DefaultCalendar Opt[string]      `json:"defaultCalendar,omitzero"`
	HiddenCalendars Opt[[]string]    `json:"hiddenCalendars,omitzero"`
	Addresses       Opt[[]string]    `json:"addresses,omitzero"`
	Calendars       map[string]*Note `json:"calendars,omitempty"`
}

// Check validates what depends on no calendar, and brings it into its usual form. Its
// errors are ErrInvalid.
func (c *SettingsChange) Check() error {
	if c.TimeZone.Value != "" {
		loc, err := loadZone("timeZone", c.TimeZone.Value)
		if err != nil {
			return err
		}
		c.TimeZone.Value = loc.String()
	}
	own, err := checkAddresses(c.Addresses.Value)
	c.Addresses.Value = own
	return err
}

// Apply returns the settings with the change. It shares nothing with s that is changed.
func (s Settings) Apply(c SettingsChange) Settings {
	if c.TimeZone.Set {
		s.TimeZone = c.TimeZone.Value
	}
	if c.DefaultCalendar.Set {
		s.DefaultCalendar = c.DefaultCalendar.Value
	}
	if c.HiddenCalendars.Set {
		s.HiddenCalendars = slices.Clone(c.HiddenCalendars.Value)
	}
	if c.Addresses.Set {
		s.Addresses = slices.Clone(c.Addresses.Value)
	}
	if len(c.Calendars) > 0 {
		s.Calendars = maps.Clone(s.Calendars)
		if s.Calendars == nil {
			s.Calendars = make(map[string]Note)
		}
		for id, note := range c.Calendars {
			if note == nil {
				delete(s.Calendars, id)
			} else {
				s.Calendars[id] = *note
			}
		}
	}
	return s
}

// SettingsStore keeps settings for good: in the user's object, which applies a change
// in one turn by [Settings.Apply]. It must be safe for concurrent use.
type SettingsStore interface {
	LoadSettings(ctx context.Context, user string) (Settings, error)
	ChangeSettings(ctx context.Context, user string, c SettingsChange) (Settings, error)
}

// MemorySettings is a SettingsStore for tests. The zero value is empty and ready.
type MemorySettings struct {
	mu    sync.Mutex
	users map[string]Settings // guarded by mu
}

// LoadSettings returns a user's settings.
func (m *MemorySettings) LoadSettings(_ context.Context, user string) (Settings, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.users[user], nil
}

// ChangeSettings applies a change and returns the result.
func (m *MemorySettings) ChangeSettings(_ context.Context, user string, c SettingsChange) (Settings, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users == nil {
		m.users = make(map[string]Settings)
	}
	m.users[user] = m.users[user].Apply(c)
	return m.users[user], nil
}

// preferences is the entry in CalendarCache: a copy of the settings under a mark, as
// others may put preferences of their own there.
type preferences struct {
	Settings *Settings `json:"calendarSettings"`
}

// Settings returns the user's settings, from the cached copy while that lives.
func (u *User) Settings(ctx context.Context) (Settings, error) {
	stub := u.svc.cache.Named(u.id)
	entry, err := durable.Call(ctx, stub, (*calcache.Cache).GetPreferences, u.id)
	if err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	var p preferences
	if entry.Data != nil && json.Unmarshal(entry.Data, &p) == nil && p.Settings != nil {
		return *p.Settings, nil
	}
	s, err := u.svc.settings.LoadSettings(ctx, u.id)
	if err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	if entry.Data == nil {
		err = u.putPreferences(ctx, s, entry.Generation)
	}
	return s, err
}

// ChangeSettings sets some of the user's settings and returns them all.
func (u *User) ChangeSettings(ctx context.Context, c SettingsChange) (Settings, error) {
	if err := c.Check(); err != nil {
		return Settings{}, err
	}
	if c.DefaultCalendar.Value != "" || len(c.HiddenCalendars.Value) > 0 {
		l, err := u.calendars(ctx)
		if err != nil {
			return Settings{}, err
		}
		for _, id := range append(slices.Clone(c.HiddenCalendars.Value), c.DefaultCalendar.Value) {
			if id == "" {
				continue
			}
			if _, err := l.find(id); err != nil {
				return Settings{}, err
			}
		}
	}
	s, err := u.change(ctx, c)
	if err == nil {
		u.svc.notify(Change{User: u.id, Calendars: true, Ours: true})
	}
	return s, err
}

func (u *User) change(ctx context.Context, c SettingsChange) (Settings, error) {
	s, err := u.svc.settings.ChangeSettings(ctx, u.id, c)
	if err != nil {
		return s, fmt.Errorf("change settings: %w", err)
	}
	return s, u.putPreferences(ctx, s, 0)
}

func (u *User) putPreferences(ctx context.Context, s Settings, generation uint64) error {
	data, err := json.Marshal(preferences{&s})
	if err == nil {
		err = durable.Exec(ctx, u.svc.cache.Named(u.id), (*calcache.Cache).PutPreferences,
			calcache.Preferences{User: u.id, Generation: generation, Data: data})
	}
	if err != nil {
		return fmt.Errorf("cache settings: %w", err)
	}
	return nil
}
