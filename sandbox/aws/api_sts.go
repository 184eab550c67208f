package aws

func stsActions() map[string]action {
	return map[string]action{"GetCallerIdentity": getCallerIdentity}
}

type callerIdentity struct {
	UserID  string `x:"UserId"`
	Account string
	Arn     string
}

// getCallerIdentity answers who asks; it is the only action here to which that matters.
func getCallerIdentity(c *Cloud, r request) ([]byte, error) {
	return xmlAction(serviceSTS, "GetCallerIdentity", func(c *Cloud, _ *struct{}) (*callerIdentity, error) {
		return &callerIdentity{UserID: "AIDASANDBOXSANDBOX123", Account: c.cfg.AccountID, Arn: c.principal(r.key)}, nil
	})(c, r)
}
