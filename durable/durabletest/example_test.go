package durabletest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

// Reminder says its text once its time has come.
type Reminder struct {
	st    *durable.State
	awake int // calls since it woke up
}

func (r *Reminder) Remind(ctx context.Context, text string) error {
	r.awake++
	if err := r.st.Storage().Put(ctx, "text", text); err != nil {
		return err
	}
	return r.st.Storage().SetAlarm(ctx, r.st.Now().Add(time.Hour))
}

func (r *Reminder) Alarm(ctx context.Context, _ durable.AlarmInfo) error {
	var text string
	if _, err := r.st.Storage().Get(ctx, "text", &text); err != nil {
		return err
	}
	fmt.Println("remember:", text)
	return r.st.Storage().DeleteAll(ctx)
}

var options = &durable.Options{Classes: []durable.Class{
	durable.NewClass("Reminder", func(_ context.Context, st *durable.State) (*Reminder, error) { return &Reminder{st: st}, nil }, nil),
}}

// A test has a *testing.T to give to New; an Example has not, and closes the runtime itself.
func Example() {
	ctx := context.Background()
	rt := durabletest.New(nil, options)
	defer rt.Close()

	if err := durable.Exec(ctx, rt.Namespace("Reminder").Named("me"), (*Reminder).Remind, "water the plants"); err != nil {
		fmt.Println(err)
	}
	rt.Crash()
	fmt.Println(len(rt.Objects("Reminder")), "object after the crash")
	rt.Advance(time.Hour)
	fmt.Println(len(rt.Objects("Reminder")), "objects after an hour")
	// Output:
	// 1 object after the crash
	// remember: water the plants
	// 0 objects after an hour
}

func ExampleRun() {
	ctx := context.Background()
	rt := durabletest.New(nil, options)
	defer rt.Close()
	me := rt.Namespace("Reminder").Named("me")

	if err := durable.Exec(ctx, me, (*Reminder).Remind, "stretch"); err != nil {
		fmt.Println(err)
	}
	err := durabletest.Run(ctx, me, func(ctx context.Context, st *durable.State, r *Reminder) error {
		var text string
		_, err := st.Storage().Get(ctx, "text", &text)
		fmt.Printf("%q, after %d call\n", text, r.awake)
		return err
	})
	fmt.Println(err)
	// Output:
	// "stretch", after 1 call
	// <nil>
}

func ExampleRuntime_RunAlarm() {
	ctx := context.Background()
	rt := durabletest.New(nil, options)
	defer rt.Close()
	me := rt.Namespace("Reminder").Named("me")

	fmt.Println(rt.RunAlarm(me))
	if err := durable.Exec(ctx, me, (*Reminder).Remind, "call home"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(rt.RunAlarm(me))
	// Output:
	// false <nil>
	// remember: call home
	// true <nil>
}

func ExampleRuntime_Evict() {
	ctx := context.Background()
	rt := durabletest.New(nil, options)
	defer rt.Close()
	me := rt.Namespace("Reminder").Named("me")

	for range 3 {
		if err := durable.Exec(ctx, me, (*Reminder).Remind, "sleep"); err != nil {
			fmt.Println(err)
		}
	}
	rt.Evict(me) // what was only in memory is gone
	err := durabletest.Run(ctx, me, func(_ context.Context, _ *durable.State, r *Reminder) error {
		fmt.Println(r.awake, "calls")
		return nil
	})
	fmt.Println(err)
	// Output:
	// 0 calls
	// <nil>
}

// In a bubble of testing/synctest there is no clock to set: sleep.
func TestReminder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := durabletest.New(t, options)
		me := rt.Namespace("Reminder").Named("me")
		if err := durable.Exec(t.Context(), me, (*Reminder).Remind, "breathe"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if rt.Resident(me) {
			t.Error("still in memory after a minute without events")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(rt.Objects("Reminder")); n != 0 {
			t.Errorf("%d objects left after the alarm, want 0", n)
		}
	})
}
