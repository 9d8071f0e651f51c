#pragma once
// Typed wrappers: curl's own calls are variadic.
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

static inline CURLcode tbk_curl_set_long(CURL *handle, CURLoption option, long value) {
	return curl_easy_setopt(handle, option, value);
}

static inline CURLcode tbk_curl_set_size(CURL *handle, CURLoption option, curl_off_t value) {
	return curl_easy_setopt(handle, option, value);
}

// libcurl keeps a copy.
static inline CURLcode tbk_curl_set_text(CURL *handle, CURLoption option, const char *value) {
	return curl_easy_setopt(handle, option, value);
}

static inline CURLcode tbk_curl_set_pointer(CURL *handle, CURLoption option, void *value) {
	return curl_easy_setopt(handle, option, value);
}

// The caller keeps the list until the handle is freed.
static inline CURLcode tbk_curl_set_list(CURL *handle, CURLoption option, struct curl_slist *value) {
	return curl_easy_setopt(handle, option, value);
}

typedef size_t (*tbk_curl_callback)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode tbk_curl_set_callback(CURL *handle, CURLoption option, tbk_curl_callback value) {
	return curl_easy_setopt(handle, option, value);
}

// Bytes of the body sent so far.
static inline long long tbk_curl_sent(CURL *handle) {
	curl_off_t count = 0;
	if (curl_easy_getinfo(handle, CURLINFO_SIZE_UPLOAD_T, &count) != CURLE_OK) return 0;
	return count;
}

static inline CURLMcode tbk_curl_multi_set_long(CURLM *handle, CURLMoption option, long value) {
	return curl_multi_setopt(handle, option, value);
}

// The next transfer that has ended, and its result; NULL if there is none.
static inline CURL *tbk_curl_next_ended(CURLM *multi, CURLcode *result) {
	int left = 0;
	CURLMsg *message;
	while ((message = curl_multi_info_read(multi, &left)) != NULL) {
		if (message->msg != CURLMSG_DONE) continue;
		*result = message->data.result;
		return message->easy_handle;
	}
	return NULL;
}
