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
//
// Stub calls, Await, Flush, Sync and DeleteAll return [ErrInTransaction] inside,
// and once it is rolled back storage returns [ErrRolledBack] until fn returns.
func (s *Storage) Transaction(ctx context.Context, fn func(ctx context.Context, tx *Txn) error) error {
	ev, err := s.state().keepShut(ctx)
	if err != nil {
		return err
	}
	o := s.obj
	o.mu.Lock()
	t := &o.turn
	tx := &Txn{ev: ev, outer: ev.tx, undo: len(t.undo), alarm: t.alarm, alarmSet: t.alarmSet}
	ev.tx = tx
	t.levels++
	o.mu.Unlock()
	stop := o.limitShut(s.state())

	err = fn(ctx, tx)

	stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	tx.done = true
	ev.tx = tx.outer
	ev.shut--
	if s.dead {
		return s.cause
	}
	if err != nil {
		tx.rollbackLocked()
	}
	t.levels--
	if t.levels == 0 {
		t.undo = nil
	}
	return err
}

// Rollback takes back what the transaction has written so far. It returns
// [ErrTransactionDone] after the end.
func (tx *Txn) Rollback() error {
	o := tx.ev.obj
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case tx.done:
		return ErrTransactionDone
	case tx.ev.inst.dead:
		return tx.ev.inst.cause
	}
	tx.rollbackLocked()
	return nil
}

func (tx *Txn) rollbackLocked() {
	if tx.rolledBack {
		return
	}
	tx.rolledBack = true
	t := &tx.ev.obj.turn
	t.rollback(tx.undo)
	t.alarm, t.alarmSet = tx.alarm, tx.alarmSet
}
