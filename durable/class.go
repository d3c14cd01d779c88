package durable

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"time"
)

// Class says how objects of one kind are made and what they can do. Make one
// with [NewClass] and pass it in [Options].Classes.
type Class struct{ c *class }

// Name returns the class's name.
func (c Class) Name() string { return c.c.name }

// ClassOptions configures a class. Nil and the zero value mean the defaults.
type ClassOptions struct {
	// UniqueKey is what ids of the namespace are made from. Default: the class's
	// name. It is stored when the namespace is first used, and what is stored counts
	// from then on, so that ids outlive a renamed class.
	UniqueKey string

	// Exclusive keeps the gate shut in every event: nothing else of the object runs
	// until the event is over, stub calls and Await included. Events are then
	// limited to Limits.ShutTime.
	Exclusive bool

	// StreamBody passes a request's body on as it arrives instead of reading it whole
	// before the event is queued. Reading it opens the gate.
	StreamBody bool

	// MethodNames are names that methods have between nodes, where those differ from
	// the ones in Go: while a cluster is upgraded to a program that has renamed a
	// method, old nodes and new ones still understand each other.
	MethodNames map[string]string

	// Errors are sentinels that callers find with errors.Is in what the class's methods return.
	Errors []error
}

// Alarmer is implemented by objects that set alarms. Alarm runs as an event of
// its own, at least once for each time that came due, never before it. If it
// returns an error or panics it is run again after about 2, 4, 8 … s, six times at
// most; then the alarm is dropped and the runtime's logger told.
type Alarmer interface {
	Alarm(ctx context.Context, info AlarmInfo) error
}

// AlarmInfo tells an alarm handler why it runs.
type AlarmInfo struct {
	Scheduled  time.Time // when the alarm was due
	RetryCount int       // failed attempts before this one
}

type class struct {
	name string
	opts ClassOptions
	typ  reflect.Type
	make func(ctx context.Context, st *State) (any, error)

	serves   bool   // the type is an http.Handler
	alarms   bool   // the type is an Alarmer
	receiver string // what stands before the names of the type's methods
	methods  map[string]wireMethod
}

// NewClass returns the class of objects that new makes, one for each instance.
// T decides what reaches them: an [http.Handler] takes requests, an [Alarmer]
// alarms, exported methods take calls (see [Call]).
//
// new runs as an event that keeps the gate shut. Its context lasts as long as the instance.
func NewClass[T any](name string, new func(ctx context.Context, st *State) (T, error), opts *ClassOptions) Class {
	c := &class{
		name: name,
		typ:  reflect.TypeFor[T](),
		make: func(ctx context.Context, st *State) (any, error) { return new(ctx, st) },
	}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.UniqueKey == "" {
		c.opts.UniqueKey = name
	}
	c.serves = c.typ.Implements(reflect.TypeFor[http.Handler]())
	c.alarms = c.typ.Implements(reflect.TypeFor[Alarmer]())
	if c.typ.Kind() != reflect.Interface {
		c.receiver = receiverOf(c.typ)
		c.methods = wireMethods(c)
	}
	return Class{c}
}

func (c *class) check() error {
	switch {
	case c == nil:
		return fmt.Errorf("durable: the zero Class: use NewClass")
	case c.name == "":
		return fmt.Errorf("durable: a class needs a name")
	case c.typ.Kind() == reflect.Interface:
		return fmt.Errorf("durable: class %s: objects must have a concrete type, not interface %s", c.name, c.typ)
	}
	return nil
}
