package durabletest

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/internal/testhook"
)

// Run runs fn inside the object, as an event of its own with all that belongs to
// one: it waits its turn, storage works with its ctx, and when Run returns nil, what
// fn wrote is durable. st is the object's State and obj what its constructor
// returned; neither may be kept. An object that sleeps is woken.
//
// Run returns fn's error as it is, or why the event failed. fn runs on the caller's
// goroutine, so that t.Fatal works in it; if it does not return, because of that
// or of a panic, the object is reset and what it wrote is lost.
func Run[T any](ctx context.Context, s *durable.Stub, fn func(ctx context.Context, st *durable.State, obj T) error) error {
	// The event runs on a goroutine of its own, which must end it whatever fn does.
	type inside struct {
		ctx context.Context
		st  *durable.State
		obj T
	}
	var (
		began    = make(chan inside)
		returned = make(chan error)    // fn's error; closed if it does not return
		ended    = make(chan error, 1) // the event's
	)
	go func() {
		ended <- testhook.Run(ctx, s, func(ctx context.Context, st, obj any) error {
			o, ok := obj.(T)
			if !ok {
				return fmt.Errorf("durabletest: %s is a %T, not a %s", testhook.Label(s), obj, reflect.TypeFor[T]())
			}
			began <- inside{ctx, st.(*durable.State), o}
			err, ok := <-returned
			if !ok {
				panic("durabletest: the function given to Run did not return")
			}
			return err
		})
	}()

	var in inside
	select {
	case in = <-began:
	case err := <-ended:
		return err
	}
	done := false
	defer func() {
		if !done {
			close(returned)
			<-ended
		}
	}()
	own := fn(in.ctx, in.st, in.obj)
	done = true
	returned <- own
	err := <-ended
	var e *durable.Error
	if own != nil && errors.As(err, &e) && e.Remote {
		return own // not its copy, so that errors.Is and As find what it was
	}
	return err
}
