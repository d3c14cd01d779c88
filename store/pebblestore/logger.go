package pebblestore

import (
	"fmt"
	"runtime"
	"strings"
)

// pebbleLogger is what Pebble logs to.
type pebbleLogger struct{ s *Store }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.s.log.Debug("pebble", "msg", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.s.log.Warn("pebble", "msg", fmt.Sprintf(format, args...))
}

// fatal is the panic by which Fatalf leaves Pebble.
type fatal struct{}

// Fatalf is called when Pebble can't go on, and must not return. It must not end
// the process either, which belongs to somebody else. So the store is broken,
// and in a goroutine that came in through a method of Store the call is left by a
// panic, which rescue turns into an error. One of Pebble's own goroutines is
// parked for ever: ending it would run its deferred calls, which unlock what is
// not locked. Close lets go of the database then.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.s.fs.freeze(fmt.Errorf(format, args...))
	if ours() {
		panic(fatal{})
	}
	l.s.park.Do(func() { close(l.s.parked) })
	select {}
}

// ours reports whether a method of Store is on the stack.
func ours() bool {
	pcs := make([]uintptr, 64)
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs)
		frames := runtime.CallersFrames(pcs[:n])
		for {
			f, more := frames.Next()
			// Closures are options' event listeners: Pebble's goroutines call them.
			if i := strings.Index(f.Function, "/store/pebblestore.(*Store)."); i >= 0 && !strings.Contains(f.Function[i:], ".func") {
				return true
			}
			if !more {
				break
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}

// rescue is deferred by methods that call Pebble.
func (s *Store) rescue(err *error) {
	switch r := recover(); r {
	case nil:
	case fatal{}:
		*err = s.broken()
	default:
		panic(r)
	}
}
