package calendar

import (
	"sync"
	"time"
)

// outages remembers whose server did not answer, so that not every read waits for it.
type outages struct {
	mu    sync.Mutex
	until map[string]time.Time // by user; guarded by mu
}

const maxOutages = 10_000

func (o *outages) note(user string, until time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.until == nil || len(o.until) >= maxOutages {
		o.until = make(map[string]time.Time)
	}
	o.until[user] = until
}

func (o *outages) over(user string) {
	o.mu.Lock()
	delete(o.until, user)
	o.mu.Unlock()
}

func (o *outages) now(user string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Now().Before(o.until[user])
}
