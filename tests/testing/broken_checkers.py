"""Checkers, and authenticators, each with one fault."""

from __future__ import annotations

import time

import memory_parts as parts
from part_defects import breaks, later
from twisted.cred.error import UnauthorizedLogin

from twisted_mail_kit.errors import AccountNotFound


@breaks("the_door_is_provided")
class HasNoCredentials(parts.Checker):
    credentialInterfaces = ()


@breaks("mechanisms_are_offered_and_each_can_be_begun")
class OffersWhatItCannot(parts.Authenticator):
    def mechanisms(self, peer):
        return ("PLAIN", "GSSAPI")


@breaks("no_password_goes_in_clear_text")
class LetsInInClearText(parts.Authenticator):
    def mechanisms(self, peer):
        return self.names


@breaks("octets_that_are_no_text_are_refused")
class DecodesInHope(parts.Authenticator):
    def begin(self, mechanism, peer):
        exchange = super().begin(mechanism, peer)
        respond = exchange.respond

        async def decode(response):
            (response or b"").decode()
            return await respond(response)

        exchange.respond = decode
        return exchange


@breaks("the_right_password_opens_the_account", "plain_lets_in_who_may", "login_lets_in_who_may")
class OpensAnothersAccount(parts.Checker):
    async def check(self, username, password):
        await super().check(username, password)
        return b"root@example.org"


@breaks("it_opens_it_again_and_again")
class WrongOnceAndOut(parts.Checker):
    async def check(self, username, password):
        try:
            return await super().check(username, password)
        except UnauthorizedLogin:
            self.place.users.pop(username.decode("utf-8", "replace"), None)
            raise


@breaks("any_other_password_does_not", "strange_passwords_are_refused")
class EmptyIsEnough(parts.Checker):
    async def check(self, username, password):
        if username.decode("utf-8", "replace") in self.place.users and not password:
            return username
        return await super().check(username, password)


@breaks("any_other_password_does_not", "scram_lets_in_who_may_and_knows_the_password_itself")
class WithoutCase(parts.Checker):
    async def check(self, username, password):
        if self.place.users.get(username.decode("utf-8", "replace"), "").lower() == password.decode().lower():
            return username
        return await super().check(username, password)

    async def scram_keys(self, user):
        keys = await super().scram_keys(user)
        return keys and parts.make_scram_keys("something else", 4096)


@breaks("a_stranger_is_refused_in_the_same_words_as_a_wrong_password")
class SaysWhoIsThere(parts.Checker):
    async def check(self, username, password):
        if username.decode("utf-8", "replace") not in self.place.users:
            raise AccountNotFound("no such user")
        return await super().check(username, password)


@breaks("a_stranger_is_refused", "strange_names_are_refused")
class EverybodyMay(parts.Checker):
    async def check(self, username, password):
        return username or b"x"


@breaks("strange_names_are_refused")
class GuestsAreWelcome(parts.Checker):
    async def check(self, username, password):
        try:
            return await super().check(username, password)
        except UnauthorizedLogin:
            return b"guest"


@breaks("a_user_that_is_made_comes_in_and_one_that_is_removed_does_not")
class OldPasswordsWork(parts.Checker):
    async def check(self, username, password):
        seen = self.place.__dict__.setdefault("seen", set())
        if (username, password) in seen:
            return username
        name = await super().check(username, password)
        seen.add((username, password))
        return name


@breaks("users_are_listed_ascending")
class ListsAsTheyCame(parts.Checker):
    async def user_names(self):
        return list(self.place.users)


@breaks("what_cannot_be_a_login_is_told")
class TakesAnyName(parts.Checker):
    async def set_password(self, user, password):
        self.place.users[user] = password


@breaks("users_are_there_when_it_is_made_again", "made_again_it_lets_in_the_same")
class RemembersAlone(parts.Checker):
    def __init__(self, place):
        super().__init__(parts.Place())


@breaks("a_stranger_is_shown_the_same_scram_keys_each_time")
class ShortDecoys(parts.Checker):
    def decoy_keys(self, user):
        keys = super().decoy_keys(user)
        return parts.ScramKeys(salt=keys.salt[:16], iterations=4096, stored_key=b"", server_key=b"")


@breaks("strange_passwords_are_refused", "any_other_password_does_not")
class ChokesOnNul(parts.Checker):
    async def check(self, username, password):
        if b"\0" in password:
            raise ValueError("embedded null byte")
        return await super().check(username, password)


@breaks("strange_names_are_refused", "the_checker_itself_refuses_what_it_does_not_know")
class AsksSQLite(parts.Checker):
    async def check(self, username, password):
        if b"'" in username:
            raise RuntimeError('near "OR": syntax error')
        return await super().check(username, password)


@breaks("the_checker_itself_refuses_what_it_does_not_know")
class WantsText(parts.Checker):
    async def check(self, username, password):
        username.decode()
        return await super().check(username, password)


@breaks("a_name_that_only_looks_like_a_users_is_refused")
class EndsAtNul(parts.Checker):
    async def check(self, username, password):
        return await super().check(username.partition(b"\0")[0], password)


@breaks("a_name_that_only_looks_like_a_users_is_refused")
class KnowsStars(parts.Checker):
    async def check(self, username, password):
        return await super().check(username.replace(b"*", b""), password)


@breaks("a_stranger_waits_as_long_as_a_user_with_a_wrong_password")
class HashesForUsersOnly(parts.Checker):
    async def check(self, username, password):
        if username.decode("utf-8", "replace") in self.place.users:
            await later(0.06)
        return await super().check(username, password)


@breaks("of_many_at_once_each_gets_an_answer_of_his_own")
class MixesThemUp(parts.Checker):
    async def check(self, username, password):
        self.asked = username, password
        await later(0)
        return await super().check(*self.asked)


@breaks("while_passwords_are_checked_nobody_is_held_up")
class ChecksInTheReactor(parts.Checker):
    async def check(self, username, password):
        time.sleep(0.1)
        return await super().check(username, password)


@breaks("one_who_gives_up_is_in_nobodys_way")
class WaitsForThoseWhoLeft(parts.Checker):
    is_busy = False

    async def check(self, username, password):
        while self.is_busy:
            await later(0.01)
        self.is_busy = True
        await later(0.01)
        self.is_busy = False
        return await super().check(username, password)


@breaks("made_again_it_lets_in_the_same")
class ClosesForAll(parts.Checker):
    def close(self):
        self.place.users.clear()


@breaks("without_what_it_stands_on_nobody_is_told_that_his_password_is_wrong")
class NoFileNoUsers(parts.Checker):
    async def check(self, username, password):
        if self.place.is_lost:
            raise UnauthorizedLogin
        return await super().check(username, password)
