package conformance

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"

	"google.golang.org/grpc/codes"
	pb "google.golang.org/protobuf/proto"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/proto"
)

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	versionPattern = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
	codePattern    = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

func (s *subject) info() *proto.InfoResponse {
	s.Helper()
	r, err := s.driver.Info(s.Context(), &proto.InfoRequest{})
	if err != nil {
		s.Fatalf("Info: %v", err)
	}
	return r
}

func testInfo(s *subject) {
	before := s.info()
	if !namePattern.MatchString(before.GetName()) {
		s.Errorf("name %q is not lower case letters, digits and dashes", before.GetName())
	}
	if !versionPattern.MatchString(before.GetVersion()) {
		s.Errorf("version %q is not a semantic version without a leading v", before.GetVersion())
	}
	if schema := before.GetConfigSchema(); len(schema) > 0 {
		var v map[string]any
		if err := json.Unmarshal(schema, &v); err != nil {
			s.Errorf("config_schema is not a JSON object: %v", err)
		}
	}
	known := map[proto.Verb]bool{}
	for _, v := range before.GetVerbs() {
		if _, ok := proto.Verb_name[int32(v)]; !ok || v == proto.Verb_VERB_UNSPECIFIED {
			s.Errorf("verb %v is not one of the protocol's", v)
		}
		if known[v] {
			s.Errorf("verb %v is listed twice", v)
		}
		known[v] = true
	}
	if !known[proto.Verb_VERB_TERMINATE] && !known[proto.Verb_VERB_REIMAGE] && !known[proto.Verb_VERB_ROLL] {
		s.Error("the driver offers no verb that replaces: terminate, reimage or roll")
	}
	s.configure()
	if after := s.info(); !pb.Equal(before, after) {
		s.Errorf("Info changed with Configure: before %v, after %v", before, after)
	}
}

func testConfigureRefuses(s *subject) {
	s.configure()
	for name, config := range map[string]string{"not JSON": "{", "not an object": `"x"`} {
		r, err := s.driver.Configure(s.Context(), &proto.ConfigureRequest{Config: []byte(config)})
		if err == nil && !slices.ContainsFunc(r.GetDiagnostics(), func(d *proto.Diagnostic) bool {
			return d.GetSeverity() == proto.Severity_SEVERITY_ERROR
		}) {
			s.Errorf("a configuration that is %s was accepted", name)
		}
	}
	if _, err := s.tryObserve(); err != nil {
		s.Errorf("after a refused configuration the earlier one is not in force: %v", err)
	}
}

func testValidateOnly(s *subject) {
	r, err := s.driver.Configure(s.Context(), &proto.ConfigureRequest{Config: []byte(s.config), ValidateOnly: true})
	if err != nil {
		s.Fatalf("Configure: %v", err)
	}
	s.checkDiagnostics(r.GetDiagnostics())
	_, err = s.tryObserve()
	s.refused("Observe after Configure with validate_only", err, codes.FailedPrecondition)
}

func testNotConfigured(s *subject) {
	_, err := s.tryObserve()
	s.refused("Observe before Configure", err, codes.FailedPrecondition)
	for _, v := range s.info().GetVerbs() {
		for _, c := range callsOf[v] {
			s.refused(c.name+" before Configure", c.call(s, s.op("rot-a"), "g", "i"), codes.FailedPrecondition)
		}
		if read := readsOf[v]; read != nil {
			s.refused("the read of "+v.String()+" before Configure", read(s, s.c.Cluster), codes.FailedPrecondition)
		}
	}
}

func testSnapshot(s *subject) {
	s.configure()
	o := s.observe()
	verbs := s.info().GetVerbs()
	names := map[string]bool{}
	for id, g := range o.groups {
		if id == "" || g.GetName() == "" || names[g.GetName()] {
			s.Errorf("group %q: id and name %q must be set and unique", id, g.GetName())
		}
		names[g.GetName()] = true
		if _, ok := proto.Role_name[int32(g.GetRole())]; !ok || g.GetRole() == proto.Role_ROLE_UNSPECIFIED {
			s.Errorf("group %s: role %v is not one of the protocol's", id, g.GetRole())
		}
		if g.GetDesired() < 0 || g.GetMin() < 0 || g.GetMax() < 0 || g.GetSurge() < 0 || g.GetSurge() > g.GetDesired() {
			s.Errorf("group %s: desired %d, min %d, max %d, surge %d cannot be", id, g.GetDesired(), g.GetMin(), g.GetMax(), g.GetSurge())
		}
		t := g.GetTraits()
		for _, need := range []struct {
			trait bool
			verb  proto.Verb
		}{
			{t.GetTerminateKeep() || t.GetTerminateShrink(), proto.Verb_VERB_TERMINATE},
			{t.GetPrepare(), proto.Verb_VERB_PREPARE},
			{t.GetMaxSurge() > 0, proto.Verb_VERB_SET_SURGE},
			{t.GetQuiesce(), proto.Verb_VERB_QUIESCE},
			{t.GetReimage(), proto.Verb_VERB_REIMAGE},
			{t.GetRoll(), proto.Verb_VERB_ROLL},
			{t.GetStage() || t.GetStageTogether(), proto.Verb_VERB_STAGE},
		} {
			if need.trait && !slices.Contains(verbs, need.verb) {
				s.Errorf("group %s: its traits need %v, which Info does not list", id, need.verb)
			}
		}
		s.checkLostLabels(id, g.GetLostLabels())
		s.checkDiagnostics(g.GetDiagnostics())
	}
	for id, i := range o.instances {
		if id == "" || o.groups[i.GetGroupId()] == nil {
			s.Errorf("instance %q belongs to group %q, which is not in the snapshot", id, i.GetGroupId())
		}
		if _, ok := proto.InstanceState_name[int32(i.GetState())]; !ok || i.GetState() == proto.InstanceState_INSTANCE_STATE_UNSPECIFIED {
			s.Errorf("instance %s: state %v is not one of the protocol's", id, i.GetState())
		}
		for _, r := range i.GetReasons() {
			if !codePattern.MatchString(r.GetCode()) || r.GetMessage() == "" {
				s.Errorf("instance %s: reason %v needs a code and a message", id, r)
			}
		}
	}
	s.checkDiagnostics(o.diagnostics)
	if s.c.Group != "" && o.groups[s.c.Group] == nil {
		s.Errorf("group %s is not in the snapshot", s.c.Group)
	}
}

func (s *subject) checkLostLabels(group string, list []string) {
	s.Helper()
	if n := len(list); n > sdk.MaxLostLabels {
		s.Errorf("group %s: %d lost labels, and %d are allowed", group, n, sdk.MaxLostLabels)
	}
	for i, l := range list {
		if err := sdk.CheckLostLabel(l); err != nil {
			s.Errorf("group %s: %v", group, err)
		}
		if slices.Contains(list[:i], l) {
			s.Errorf("group %s: lost label %q is listed twice", group, l)
		}
	}
}

func (s *subject) checkDiagnostics(list []*proto.Diagnostic) {
	s.Helper()
	for _, d := range list {
		if !codePattern.MatchString(d.GetCode()) {
			s.Errorf("diagnostic %q: code %q is not lower case with dashes", d.GetSummary(), d.GetCode())
		}
		if d.GetSummary() == "" || bytes.ContainsRune([]byte(d.GetSummary()), '\n') {
			s.Errorf("diagnostic %s: summary %q is not one line", d.GetCode(), d.GetSummary())
		}
		if _, ok := proto.Severity_name[int32(d.GetSeverity())]; !ok || d.GetSeverity() == proto.Severity_SEVERITY_UNSPECIFIED {
			s.Errorf("diagnostic %s: severity %v is not one of the protocol's", d.GetCode(), d.GetSeverity())
		}
	}
}

func testSnapshotOfGroup(s *subject) {
	s.configure()
	for id := range s.observe().groups {
		o := s.observe(id)
		if len(o.groups) != 1 || o.groups[id] == nil {
			s.Errorf("Observe of group %s answers %d groups", id, len(o.groups))
		}
		for _, i := range o.instances {
			if i.GetGroupId() != id {
				s.Errorf("Observe of group %s answers instance %s of group %s", id, i.GetId(), i.GetGroupId())
			}
		}
	}
}

func testUnimplemented(s *subject) {
	s.configure()
	verbs := s.info().GetVerbs()
	for v, calls := range callsOf {
		if slices.Contains(verbs, v) {
			continue
		}
		for _, c := range calls {
			s.refused(c.name, c.call(s, s.op("rot-a"), "g", "i"), codes.Unimplemented)
		}
	}
	for v, read := range readsOf {
		if slices.Contains(verbs, v) {
			s.refused("the read of "+v.String()+" without a cluster", read(s, ""), codes.InvalidArgument)
		} else {
			s.refused("the read of "+v.String(), read(s, s.c.Cluster), codes.Unimplemented)
		}
	}
}
