package main

import (
	"testing"
)

// Each concurrent worker must have the same amount of work, also in a small run.
func TestEveryJobComesOutEven(t *testing.T) {
	names := make(map[string]bool)
	for _, s := range scenarios() {
		if names[s.name] {
			t.Errorf("%s is there twice", s.name)
		}
		names[s.name] = true
		for _, quick := range []bool{false, true} {
			j := s.job.sized(quick)
			if j.WarmUp < 1 || j.Events < 1 || j.WarmUp%j.unit() != 0 || j.Events%j.unit() != 0 {
				t.Errorf("%s: %d and %d events are not multiples of %d", s.name, j.WarmUp, j.Events, j.unit())
			}
			if perStream := j.total() / j.Streams; j.prepared() && perStream*j.Streams != j.total() {
				t.Errorf("%s: %d events cannot be spread over %d streams", s.name, j.total(), j.Streams)
			}
		}
	}
}

// A pusher that were further ahead would measure how a server cuts off connections, and how go-gesclient gives up.
func TestPushersStayCloseToSubscriptions(t *testing.T) {
	const serverLimit, gesLimit = 10 << 20, 2000
	for _, s := range scenarios() {
		j := s.job.sized(false)
		if !j.pushed() {
			continue
		}
		ahead := j.ahead() + len(newPusher(nil, j).batch)
		if bytes := ahead * j.fanOut() * (j.Size + frameBytes); ahead >= gesLimit || bytes > serverLimit/2 {
			t.Errorf("%s: %d events ahead, %d bytes", s.name, ahead, bytes)
		}
	}
}
