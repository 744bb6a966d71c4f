/*
 * A FIDO token made of software, for tests: OpenSSH loads it in place of its own library for USB tokens (SecurityKeyProvider in
 * ssh_config(5), SSH_SK_PROVIDER in ssh-keygen(1)). Everything but the token is real: OpenSSH makes, asks and checks what it always does.
 *
 * It knows Ed25519 alone. Like a token without room it hands its secret out as the key's handle; unlike one, not wrapped in a key of its
 * own. Each touch is a byte in the file that TOKEN_TOUCHES names; without that variable the token is not plugged in.
 *
 * Built without headers of libcrypto, which not every machine has beside its library.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* libcrypto, EVP_PKEY_ED25519(7) */
enum { ED25519 = 1087 };
typedef struct evp_pkey_st PKEY;
typedef struct evp_md_ctx_st MD;
PKEY *EVP_PKEY_new_raw_private_key(int, void *, const uint8_t *, size_t);
int EVP_PKEY_get_raw_public_key(const PKEY *, uint8_t *, size_t *);
void EVP_PKEY_free(PKEY *);
MD *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(MD *);
int EVP_DigestSignInit(MD *, void **, const void *, void *, PKEY *);
int EVP_DigestSign(MD *, uint8_t *, size_t *, const uint8_t *, size_t);
uint8_t *SHA256(const uint8_t *, size_t, uint8_t *);

/* What OpenSSH 9.1 to 10 and its providers agree on: version 10 of PROTOCOL.u2f's middleware. */
enum { VERSION = 0x000a0000, ALG_ED25519 = 1, TOUCHED = 1, FAILED = -1, UNSUPPORTED = -2, NOT_THERE = -4, SEED = 32, SIGNATURE = 64 };

struct enrolled {
    uint8_t flags;
    uint8_t *public_key;
    size_t public_key_len;
    uint8_t *key_handle;
    size_t key_handle_len;
    uint8_t *signature;
    size_t signature_len;
    uint8_t *attestation_cert;
    size_t attestation_cert_len;
    uint8_t *authdata;
    size_t authdata_len;
};

struct signed_data {
    uint8_t flags;
    uint32_t counter;
    uint8_t *r;
    size_t r_len;
    uint8_t *s;
    size_t s_len;
};

static int touch(void) {
    const char *path = getenv("TOKEN_TOUCHES");
    if (!path) return NOT_THERE;
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (file < 0) return FAILED;
    int done = write(file, ".", 1) == 1;
    close(file);
    return done ? 0 : FAILED;
}

uint32_t sk_api_version(void) { return VERSION; }

int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application, uint8_t flags, const char *pin,
              void **options, struct enrolled **answer) {
    if (alg != ALG_ED25519) return UNSUPPORTED;
    int why = touch();
    if (why) return why;
    struct enrolled *made = calloc(1, sizeof *made);
    if (!made) return FAILED;
    made->flags = flags;
    made->key_handle = malloc(made->key_handle_len = SEED);
    made->public_key = malloc(made->public_key_len = SEED);
    /* Of the token's maker, whom nobody asks. */
    made->signature = calloc(1, made->signature_len = SIGNATURE);
    PKEY *key = NULL;
    if (made->key_handle && made->public_key && made->signature && getrandom(made->key_handle, SEED, 0) == SEED)
        key = EVP_PKEY_new_raw_private_key(ED25519, NULL, made->key_handle, SEED);
    int fine = key && EVP_PKEY_get_raw_public_key(key, made->public_key, &made->public_key_len) == 1;
    EVP_PKEY_free(key);
    if (!fine) return FAILED;
    *answer = made;
    return 0;
}

int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application, const uint8_t *handle, size_t handle_len,
            uint8_t flags, const char *pin, void **options, struct signed_data **answer) {
    if (alg != ALG_ED25519 || handle_len != SEED) return UNSUPPORTED;
    int why = touch();
    if (why) return why;
    struct signed_data *made = calloc(1, sizeof *made);
    if (!made || !(made->r = malloc(made->r_len = SIGNATURE))) return FAILED;
    made->flags = flags & TOUCHED;
    made->counter = 7;
    /* What a token signs: whom it is for, whether it was touched, how often it has signed, and what. */
    uint8_t text[32 + 1 + 4 + 32] = {0};
    SHA256((const uint8_t *)application, strlen(application), text);
    text[32] = made->flags;
    text[36] = (uint8_t)made->counter;
    SHA256(data, data_len, text + 37);
    PKEY *key = EVP_PKEY_new_raw_private_key(ED25519, NULL, handle, SEED);
    MD *md = EVP_MD_CTX_new();
    int fine = key && md && EVP_DigestSignInit(md, NULL, NULL, NULL, key) == 1
        && EVP_DigestSign(md, made->r, &made->r_len, text, sizeof text) == 1;
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);
    if (!fine) return FAILED;
    *answer = made;
    return 0;
}

int sk_load_resident_keys(const char *pin, void **options, void ***keys, size_t *count) { return UNSUPPORTED; }
