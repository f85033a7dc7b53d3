package main

import (
	"slices"
	"testing"
)

// everyScenario returns those of both lists. A step of a series may have the name of a scenario that compares.
func everyScenario() []scenario {
	list := growthScenarios()
	for i := range list {
		list[i].name = "growth: " + list[i].name
	}
	return append(list, scenarios()...)
}

// Each concurrent worker must have the same amount of work, also in a small run.
func TestEveryJobComesOutEven(t *testing.T) {
	names := make(map[string]bool)
	for _, s := range everyScenario() {
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
	for _, s := range everyScenario() {
		j := s.job.sized(false)
		if !j.pushed() {
			continue
		}
		ahead := j.ahead() + len(newPusher(nil, j).batch)
		gives := ahead >= gesLimit && slices.Contains(s.contenders, gesClient)
		if bytes := ahead * j.fanOut() * (j.Size + frameBytes); gives || bytes > serverLimit/2 {
			t.Errorf("%s: %d events ahead, %d bytes", s.name, ahead, bytes)
		}
	}
}

// A contender whose server is not installed is left out and named.
func TestAnAbsentBrokerIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s := scenario{contenders: []string{ownPubSub, jetStream, redisStreams, bareTCP}}
	missing := s.leaveOutAbsent()
	if !slices.Equal(s.contenders, []string{ownPubSub, bareTCP}) || len(missing) != 2 {
		t.Errorf("measured: %q; missing: %q", s.contenders, missing)
	}
}
