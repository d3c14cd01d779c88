package durable

import (
	"context"

	"github.com/perdure/perdure/store"
)

// Txn is a transaction that is under way. Inside it the object's storage is used as always.
type Txn struct {
	ev         *event
	outer      *Txn
	undo       int // length of the undo log when it began
	alarm      store.Alarm
	alarmSet   bool
	rolledBack bool
	done       bool
}

// Transaction runs fn and keeps its writes if it returns nil; if it returns an
// error or calls [Txn.Rollback], they are taken back. What is kept joins the
// turn: Transaction is no commit point. It nests, each level with its own fate
// within that of the outer one. The gate stays shut, for at most Limits.ShutTime (30 s).
// Transaction returns what fn returned: nil also after a Rollback, if fn then returns nil.
//
// Stub calls, Await, Flush, Sync and DeleteAll return [ErrInTransaction] inside,
// and once it is rolled back storage returns [ErrRolledBack] until fn returns.
func (s *Storage) Transaction(ctx context.Context, fn func(ctx context.Context, tx *Txn) error) error {
	ev, err := s.state().keepShutLocked(ctx)
	if err != nil {
		return err
	}
	o := s.obj
	t := o.turn
	tx := &Txn{ev: ev, outer: ev.tx, undo: len(t.undo), alarm: t.alarm, alarmSet: t.alarmSet}
	ev.tx = tx
	t.levels++
	o.mu.Unlock()
	stop := o.limitShut(s.state())

	returned := false
	defer func() {
		if !returned { // a panic, which the handler may recover from
			stop()
			tx.end(false)
		}
	}()
	err = fn(ctx, tx)
	returned = true
	stop()
	if lost := tx.end(err == nil); lost != nil {
		return lost
	}
	return err
}

// end leaves the transaction. It reports why there is nothing left to keep or to take back.
func (tx *Txn) end(keep bool) error {
	ev, o := tx.ev, tx.ev.obj
	o.mu.Lock()
	defer o.mu.Unlock()
	tx.done = true
	if err := ev.overLocked(); err != nil {
		return err // and the turn is another event's
	}
	ev.tx = tx.outer
	ev.shut--
	if !keep {
		tx.rollbackLocked()
	}
	t := o.turn
	t.levels--
	if t.levels == 0 {
		t.undo = nil
	}
	return nil
}

// Rollback takes back what the transaction has written so far. It is no error of the
// transaction: fn says by what it returns whether the caller of [Storage.Transaction]
// hears of it. Rollback returns [ErrTransactionDone] after the end.
func (tx *Txn) Rollback() error {
	o := tx.ev.obj
	o.mu.Lock()
	defer o.mu.Unlock()
	if tx.done {
		return ErrTransactionDone
	}
	if err := tx.ev.overLocked(); err != nil {
		return err
	}
	tx.rollbackLocked()
	return nil
}

func (tx *Txn) rollbackLocked() {
	for up := tx; up != nil; up = up.outer {
		if up.rolledBack { // all that tx wrote went with it
			return
		}
	}
	tx.rolledBack = true
	t := tx.ev.obj.turn
	t.rollback(tx.undo)
	t.alarm, t.alarmSet = tx.alarm, tx.alarmSet
}
