package worker

import (
	"sync"
	"time"
)

// sparingEvery is how often, at most, the log tells of what strangers can cause at will.
const sparingEvery = time.Minute

// sparing keeps such lines from filling the log. It asks no clock.
type sparing struct {
	mu   sync.Mutex
	last time.Time // guarded by mu; of a line that was let through
	more int       // guarded by mu; lines that were not, since
}

// take says whether a line may be logged, and how many were not since the one before.
func (s *sparing) take(now time.Time) (more int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && now.Sub(s.last) < sparingEvery {
		s.more++
		return 0, false
	}
	more = s.more
	s.last, s.more = now, 0
	return more, true
}
