package worker

import (
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How many requests a user may send: DefaultRate a second in the long run, and burstSeconds
// of them at once. Programs at /dav/ send a request for each event; they may send davFactor
// as many, counted apart. The operator's at /objects/ are not counted.
const (
	DefaultRate  = 100
	burstSeconds = 10
	davFactor    = 10
)

// maxLimited bounds the memory, about 200 bytes each.
const maxLimited = 1 << 14

// limits are the users' buckets.
type limits struct {
	rate  rate.Limit
	mu    sync.Mutex
	users map[string]*rate.Limiter // guarded by mu; a missing one is full
}

func newLimits(perSecond float64) *limits {
	if perSecond < 0 {
		return &limits{rate: rate.Inf}
	}
	return &limits{rate: rate.Limit(perSecond), users: make(map[string]*rate.Limiter)}
}

// take counts a request of a user. It returns an error that says how long to wait if there
// were too many.
func (l *limits) take(user string, now time.Time) error {
	if l.rate == rate.Inf {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.users[user]
	if b == nil {
		l.makeRoomLocked(now)
		b = rate.NewLimiter(l.rate, max(1, int(l.rate*burstSeconds)))
		l.users[user] = b
	}
	r := b.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	r.CancelAt(now)
	return &refusal{status: http.StatusTooManyRequests, text: "Too many requests", wait: wait}
}

// makeRoomLocked forgets the fullest of some.
func (l *limits) makeRoomLocked(now time.Time) {
	if len(l.users) < maxLimited {
		return
	}
	fullest, most, looked := "", -1.0, 0
	for user, b := range l.users {
		if n := b.TokensAt(now); n > most {
			fullest, most = user, n
		}
		if looked++; looked == 32 {
			break
		}
	}
	delete(l.users, fullest)
}

func (l *limits) forget(user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.users, user)
}
