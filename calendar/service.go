package calendar

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/durable"
)

// ErrClosed is returned after [Service.Close].
var ErrClosed = errors.New("calendar: service is closed")

// Service answers for the calendars of many users: from copies that it keeps in
// CalendarCache, and by writing through to each user's CalDAV server. It may be used by
// several goroutines, and by several processes over the same objects.
type Service struct {
	accounts Accounts
	cache    *durable.Namespace
	settings SettingsStore
	opts     Options
	images   images
	fills    flights[fill]
	listings flights[*listing]
	outages  outages
}

// Account is where a user's calendars are.
type Account struct {
	// Client speaks with the user's server. Its requests run under contexts that the
	// Service makes, which carry no values: a transport that needs the user in the
	// context puts him there itself.
	Client *caldav.Client

	// Source names server and account. A copy that was made from another source is not
	// used, so that nobody sees another account's calendars after a new login.
	Source string

	// Proof stands for the credential without telling it: it is kept with copies. While it is
	// another than that with which a copy was checked, the copy is not believed.
	Proof string

	// Addresses are mail addresses of the user's besides those that the server tells and
	// the user has set.
	Addresses []string

	// AlwaysCheck is that of the Options, for this account alone.
	AlwaysCheck bool

	// Inside says that the server is this very one, reached within the process: the host
	// in the Client's address is none that others could use. A calendar's URL then is the
	// path at which this server shows it, wherever it is reached.
	Inside bool
}

// Accounts finds the account of a user. The Service calls it for each operation that
// may need the server.
type Accounts func(ctx context.Context, user string) (Account, error)

// Options of a Service. The zero value of each field is the default.
type Options struct {
	// TTL is how long a copy is believed without asking the server; 5 minutes by default.
	TTL time.Duration

	// AlwaysCheck asks the server at every read whether the calendar changed: for one in
	// the same process, where asking is cheap.
	AlwaysCheck bool

	// TimeZone is the server's, for users and calendars that have none; UTC by default.
	TimeZone *time.Location

	// Patience is how long a read waits for the server's word whether a calendar changed
	// if there is a copy to serve instead; 10 seconds by default. After an outage the
	// server is left alone for OutagePause, 15 seconds by default.
	Patience    time.Duration
	OutagePause time.Duration

	// MemoryBytes bounds what is held in memory of copies; 128 MiB by default.
	MemoryBytes int64

	// AddressHelp is a sentence that says how a user tells his own mail addresses
	// ([Settings]). It ends errors that come of their not being known.
	AddressHelp string

	// OnChange is told of each write, before it is answered, and of each difference that a
	// refresh found. It is called under no lock, by any goroutine, and should not take long.
	OnChange func(Change)

	// Logger is told what no caller can be; nil discards.
	Logger *slog.Logger
}

// Change is what a write changed, or a refresh found changed.
type Change struct {
	User      string
	Calendars bool     // the list of calendars, or the properties of one
	Calendar  string   // id of the calendar whose events changed, or "" for none
	Events    []string // ids of the events, at most 100; nil: any
	Ours      bool     // a write through this Service
}

// New returns a service. cache is the namespace of class CalendarCache.
func New(accounts Accounts, cache *durable.Namespace, settings SettingsStore, opts *Options) *Service {
	s := &Service{accounts: accounts, cache: cache, settings: settings}
	if opts != nil {
		s.opts = *opts
	}
	o := &s.opts
	defaultTo(&o.TTL, 5*time.Minute)
	defaultTo(&o.Patience, 10*time.Second)
	defaultTo(&o.OutagePause, 15*time.Second)
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = 128 << 20
	}
	if o.TimeZone == nil {
		o.TimeZone = time.UTC
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s.images.limit = o.MemoryBytes
	return s
}

func defaultTo(d *time.Duration, v time.Duration) {
	if *d <= 0 {
		*d = v
	}
}

// Close waits for the requests to servers that are under way; each ends when those who
// wait for it have left. Afterwards reads that need the server return ErrClosed.
func (s *Service) Close() error {
	s.fills.close()
	s.listings.close()
	return nil
}

// User returns a handle on one user's calendars. It is cheap, need not be kept, and may
// be used by several goroutines.
func (s *Service) User(id string) *User { return &User{svc: s, id: id} }

// Forget drops what is held in memory of a user, who was removed or has a new account.
func (s *Service) Forget(user string) { s.images.forget(user) }

// User is one user's calendars.
type User struct {
	svc *Service
	id  string
}

func (u *User) account(ctx context.Context) (Account, error) {
	a, err := u.svc.accounts(ctx, u.id)
	if err != nil {
		return a, err
	}
	if a.Source == "" {
		a.Source = a.Client.Origin() + a.Client.Base()
	}
	a.AlwaysCheck = a.AlwaysCheck || u.svc.opts.AlwaysCheck
	return a, nil
}

func (s *Service) notify(c Change) {
	if s.opts.OnChange == nil {
		return
	}
	if len(c.Events) > 100 {
		c.Events = nil
	}
	s.opts.OnChange(c)
}
