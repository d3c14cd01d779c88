package durable

import (
	"log/slog"
	"net/http"
	"time"
)

// Options configures a [Runtime]. Nil and the zero value mean the defaults.
type Options struct {
	// Classes are the classes of objects that live in this runtime.
	Classes []Class

	// Bindings are further names for [Runtime.Namespace] and [State.Namespace]:
	// binding name to class name. Each class is bound under its own name too.
	Bindings map[string]string

	// Vars is what [State.Var] returns.
	Vars map[string]string

	// Transport is what [State.HTTPClient] sends with. Default: http.DefaultTransport.
	Transport http.RoundTripper

	// Placement says which objects live here and the way to the others. Nil: all live here.
	Placement Placement

	// IdleTimeout is how long an object without events stays in memory. Default: 10 s.
	IdleTimeout time.Duration

	// AlarmConcurrency is how many alarm handlers run at once. Default: 64.
	AlarmConcurrency int

	// Limits bound sizes, counts and times.
	Limits Limits

	// Logger receives what no caller can be told: dropped alarms, failed background
	// functions, panics, and why a request got a status that says no more than that it
	// failed. Nil discards.
	Logger *slog.Logger
}

// Limits bound what objects and their callers may use. A zero field means the
// default, a negative one no limit.
type Limits struct {
	KeyBytes       int   // a key; default 2,048
	ValueBytes     int   // an encoded value; default 131,072
	KeysPerCall    int   // keys in one call of a method for many; default 128
	TurnBytes      int   // keys and values between two commit points; default 64 MiB
	NamespaceBytes int64 // keys and values of all objects of a namespace; default 1 GiB. Approximate: see docs/design.md

	BodyBytes     int   // a request body; default 8 MiB
	AnswerBytes   int   // an answer without Flush; default 32 MiB
	ArgumentBytes int   // an encoded argument or result of Call; default 8 MiB
	BufferBytes   int64 // all bodies and buffered answers at one time, half of it for each; default 256 MiB
	CacheBytes    int64 // cached values of all objects; default 64 MiB

	QueueEvents int           // events of one object that wait, run, or wait to be durable; default 4,096
	QueueBytes  int           // their bodies and arguments; default 64 MiB
	QueueAge    time.Duration // how long an event waits to start; default 30 s
	CallDepth   int           // events in a chain of calls; default 32

	BodyStall      time.Duration // how long nothing of a request's body may arrive; default 20 s
	AnswerStall    time.Duration // how long a client may take nothing of its answer; default 20 s
	ShutTime       time.Duration // constructor, BlockConcurrencyWhile, transaction, event of an exclusive class; default 30 s
	AlarmTime      time.Duration // an alarm handler; default 15 min
	BackgroundTime time.Duration // a WaitUntil function; default 15 min
}

func orDefault[T int | int64 | time.Duration](v *T, def T) {
	const unlimited = 1 << 50 // bytes, events, or two weeks in nanoseconds
	switch {
	case *v == 0:
		*v = def
	case *v < 0:
		*v = unlimited
	}
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.KeyBytes, 2048)
	orDefault(&l.ValueBytes, 128<<10)
	orDefault(&l.KeysPerCall, 128)
	orDefault(&l.TurnBytes, 64<<20)
	orDefault(&l.NamespaceBytes, 1<<30)
	orDefault(&l.BodyBytes, 8<<20)
	orDefault(&l.AnswerBytes, 32<<20)
	orDefault(&l.ArgumentBytes, 8<<20)
	orDefault(&l.BufferBytes, 256<<20)
	orDefault(&l.CacheBytes, 64<<20)
	orDefault(&l.QueueEvents, 4096)
	orDefault(&l.QueueBytes, 64<<20)
	orDefault(&l.QueueAge, 30*time.Second)
	orDefault(&l.CallDepth, 32)
	orDefault(&l.BodyStall, 20*time.Second)
	orDefault(&l.AnswerStall, 20*time.Second)
	orDefault(&l.ShutTime, 30*time.Second)
	orDefault(&l.AlarmTime, 15*time.Minute)
	orDefault(&l.BackgroundTime, 15*time.Minute)
	return l
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	orDefault(&out.IdleTimeout, 10*time.Second)
	orDefault(&out.AlarmConcurrency, 64)
	out.Limits = out.Limits.withDefaults()
	if out.Transport == nil {
		out.Transport = http.DefaultTransport
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	return out
}
