package discovery

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Preference is the preferred kind of node in a cluster. If there is no such node, the client takes another kind.
type Preference int

// The preferences. Among equals the choice is random.
const (
	// PreferLeader takes the leader, else a follower, else a read-only replica.
	PreferLeader Preference = iota
	// PreferFollower takes a follower, else it is as [PreferLeader].
	PreferFollower
	// PreferReadOnlyReplica takes a read-only replica, else it is as [PreferLeader].
	PreferReadOnlyReplica
	// PreferRandom takes any node.
	PreferRandom
)

var preferenceNames = []string{"leader", "follower", "readonlyreplica", "random"}

// ParsePreference reads leader or master, follower or slave, readonlyreplica, or random. Case, spaces, hyphens and
// underscores do not matter. The error is a [*ConfigError].
func ParsePreference(s string) (Preference, error) {
	name := strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "").Replace(s))
	switch name {
	case "master":
		return PreferLeader, nil
	case "slave":
		return PreferFollower, nil
	}
	if i := slices.Index(preferenceNames, name); i >= 0 {
		return Preference(i), nil
	}
	return 0, &ConfigError{
		Field:  "Preference",
		Reason: fmt.Sprintf("is unknown: %q is not one of %s", s, strings.Join(preferenceNames, ", ")),
	}
}

// String returns the name that [ParsePreference] reads.
func (p Preference) String() string {
	if p.known() {
		return preferenceNames[p]
	}
	return fmt.Sprintf("Preference(%d)", int(p))
}

func (p Preference) known() bool { return p >= 0 && int(p) < len(preferenceNames) }

// rank returns the place of a state in the order of p. The lowest comes first.
func (p Preference) rank(s State) int {
	replica := s == StateReadOnlyReplica || s == StateReadOnlyLeaderless
	switch {
	case p == PreferRandom:
		return 0
	case p == PreferFollower && s == StateFollower, p == PreferReadOnlyReplica && replica:
		return stateRank[s] - len(stateRank)
	}
	return stateRank[s]
}

var stateRank = map[State]int{
	StateLeader:             0,
	StateFollower:           1,
	StateReadOnlyReplica:    2,
	StateReadOnlyLeaderless: 3,
	StateClone:              4,
}

// choice is a member that can be dialed.
type choice struct {
	Member
	doubtful bool // see round.doubts
}

// order sorts the choices, the best first.
func (p Preference) order(list []choice) {
	shuffle(list)
	slices.SortStableFunc(list, func(a, b choice) int {
		if a.doubtful != b.doubtful {
			if a.doubtful {
				return 1
			}
			return -1
		}
		return cmp.Compare(p.rank(a.State), p.rank(b.State))
	})
}
