package durabletest

import (
	"sync"
	"testing"
)

// testLog writes to the test's log while the test runs: code of an object that
// outlives it may still have something to say, and that would panic.
type testLog struct {
	mu    sync.Mutex // guards ended, and tb's life while it is false
	tb    testing.TB
	ended bool
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return len(p), nil
	}
	return l.tb.Output().Write(p)
}

func (l *testLog) end() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
}
