// node oidc-provider.mjs LIBRARY PORT: serves the library that tests/peers/oidc-provider fetches, on 127.0.0.1, until it is
// killed. Whoever signs in as NAME has the address NAME@lab.test.
import { pathToFileURL } from 'node:url';

const [library, port] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(library));
const origin = `http://127.0.0.1:${port}`;
const provider = new Provider(origin, {
  clients: [{
    client_id: 'step-cli',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
    response_types: ['code'],
    // For a native client the port of a loopback address does not count (RFC 8252, 7.3).
    redirect_uris: ['http://127.0.0.1'],
  }],
  features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  // Claims in the ID token, as step-ca needs them.
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  cookies: { keys: ['of-a-test-no-secret'] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@lab.test`, email_verified: true }) }),
});
provider.listen(Number(port), '127.0.0.1');
