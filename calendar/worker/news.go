package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/davserver"
)

// news are the changes that MCP clients have yet to be told of. Who makes a change does not
// wait for that. What is told says what to read anew, so changes that wait are put
// together: a user who is slow to tell costs one entry a calendar.
type news struct {
	log     *slog.Logger
	deliver func(ctx context.Context, from source, c calendar.Change) error

	mu      sync.Mutex
	users   map[key]*waiting   // guarded by mu
	order   []key              // guarded by mu; who came first
	working bool               // guarded by mu: a goroutine delivers
	stop    context.CancelFunc // guarded by mu; of that goroutine
	done    chan struct{}      // guarded by mu; closed when it has ended
	closed  bool               // guarded by mu
}

// source is who has noticed a change.
type source int

const (
	written   source = iota // the service, which made it
	refreshed               // the service, which found it on the user's server
	davClient               // the calendar server here, which was asked for it
)

type key struct {
	user string
	from source
}

// waiting is what a user has yet to hear.
type waiting struct {
	list   bool
	events map[string][]string // by calendar; nil means any event
}

// maxEvents is how many events of a calendar are named; more are any.
const maxEvents = 100

func (n *news) add(from source, c calendar.Change) {
	k := key{c.User, from}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	u := n.users[k]
	if u == nil {
		if n.users == nil {
			n.users = make(map[key]*waiting)
		}
		u = &waiting{events: make(map[string][]string)}
		n.users[k] = u
		n.order = append(n.order, k)
	}
	u.list = u.list || c.Calendars
	if c.Calendar != "" {
		u.events[c.Calendar] = merge(u.events, c)
	}
	if !n.working {
		var ctx context.Context
		ctx, n.stop = context.WithCancel(context.Background())
		n.working, n.done = true, make(chan struct{})
		go n.work(ctx, n.done)
	}
}

func merge(known map[string][]string, c calendar.Change) []string {
	events, waits := known[c.Calendar]
	if c.Events == nil || waits && events == nil {
		return nil
	}
	for _, id := range c.Events {
		if !slices.Contains(events, id) {
			events = append(events, id)
		}
	}
	if len(events) > maxEvents {
		return nil
	}
	return events
}

// work delivers until nothing waits.
func (n *news) work(ctx context.Context, done chan struct{}) {
	defer close(done)
	for {
		n.mu.Lock()
		if n.closed || len(n.order) == 0 {
			n.working = false
			n.stop()
			n.mu.Unlock()
			return
		}
		k := n.order[0]
		n.order = n.order[1:]
		u := n.users[k]
		delete(n.users, k)
		n.mu.Unlock()
		if u.list {
			n.tell(ctx, k.from, calendar.Change{User: k.user, Calendars: true})
		}
		for id, events := range u.events {
			n.tell(ctx, k.from, calendar.Change{User: k.user, Calendar: id, Events: events})
		}
	}
}

func (n *news) tell(ctx context.Context, from source, c calendar.Change) {
	err := n.deliver(ctx, from, c)
	if err != nil && ctx.Err() == nil && !errors.Is(err, accounts.ErrNoUser) {
		n.log.LogAttrs(ctx, slog.LevelError, "clients were not told of a change", slog.String("user", c.User), slog.Any("error", err))
	}
}

// close drops what waits and waits for what is being delivered.
func (n *news) close() {
	n.mu.Lock()
	n.closed = true
	working, stop, done := n.working, n.stop, n.done
	n.mu.Unlock()
	if working {
		stop()
		<-done
	}
}

// calendarChanged is told by the calendar service.
func (w *Worker) calendarChanged(c calendar.Change) {
	from := refreshed
	if c.Ours {
		from = written
	}
	w.news.add(from, c)
}

// davChanged is told by the calendar server. The ids are those under which the service
// shows what is there: in the paths of its requests stands the user's id.
func (w *Worker) davChanged(c davserver.Change) {
	if c.Object == "" {
		w.news.add(davClient, calendar.Change{User: c.UserID, Calendars: true})
		return
	}
	set := caldav.Join(davPrefix+"calendars", c.UserID) + "/"
	collection := caldav.Join(set, c.Calendar) + "/"
	w.news.add(davClient, calendar.Change{
		User: c.UserID, Calendar: calendar.CalendarID(set, collection),
		Events: []string{calendar.EventID(caldav.Join(collection, c.Object))},
	})
}

// tell tells a user's MCP clients of a change.
func (w *Worker) tell(ctx context.Context, from source, c calendar.Change) error {
	if news, err := w.counts(ctx, from, c.User); !news {
		return err
	}
	return w.notify(ctx, c)
}

// counts says whether what a source says of a user's calendars is news. Calendars kept here
// change in two ways, by the service and through /dav/, and both are told at once: that a
// later refresh finds the second in the copy is none. For a user whose calendars are
// elsewhere those here don't count.
func (w *Worker) counts(ctx context.Context, from source, user string) (bool, error) {
	if from == written {
		return true, nil
	}
	_, err := w.Credential(ctx, user)
	here := errors.Is(err, accounts.ErrNoCredential)
	if err != nil && !here {
		return false, err
	}
	return here == (from == davClient), nil
}
