"""Accounts, each with one fault."""

from __future__ import annotations

import time

import memory_parts as parts
from part_defects import breaks, later

from twisted_mail_kit.errors import AccountNotFound
from twisted_mail_kit.interfaces import Alias, Local
from twisted_mail_kit.mail.address import Address


@breaks("the_door_is_provided", "an_account_sends_as_its_own_address")
class SaysNothingOfSenders(parts.Addresses):
    may_send_as = None


@breaks("an_address_of_an_account_is_that_account")
class AddressIsNoAccount(parts.Addresses):
    async def lookup(self, address):
        found = await super().lookup(address)
        return Local(found.account.partition("@")[0]) if isinstance(found, Local) else found


@breaks("an_alias_leads_to_all_its_targets")
class FirstTargetOnly(parts.Addresses):
    async def lookup(self, address):
        found = await super().lookup(address)
        return Alias(found.targets[:1], found.keep) if isinstance(found, Alias) else found


@breaks("an_alias_leads_to_all_its_targets")
class LeadsToItself(parts.Addresses):
    async def lookup(self, address):
        found = await super().lookup(address)
        return Alias((*found.targets, address)) if isinstance(found, Alias) and found.keep else found


@breaks("an_address_that_nobody_has_is_nobodys")
class RaisesForNobody(parts.Addresses):
    async def lookup(self, address):
        found = await super().lookup(address)
        if found is None:
            raise AccountNotFound(str(address))
        return found


@breaks("the_same_question_has_the_same_answer", "of_many_at_once_each_gets_his_own_answer")
class MadeUpEachTime(parts.Addresses):
    asked = 0

    async def lookup(self, address):
        self.asked += 1
        found = await super().lookup(address)
        return Local(found.account, str(self.asked)) if isinstance(found, Local) else found


@breaks("the_bare_postmaster_is_answered")
class WantsADomain(parts.Addresses):
    async def lookup(self, address):
        if not address.domain:
            raise ValueError("no domain")
        return await super().lookup(address)


@breaks("an_account_sends_as_its_own_address")
class NobodySends(parts.Addresses):
    async def may_send_as(self, account, sender):
        return False


@breaks("an_account_does_not_send_as_another")
class EverybodySendsAsAll(parts.Addresses):
    async def may_send_as(self, account, sender):
        return await self.lookup(sender) is not None


@breaks("nobody_sends_as_what_is_nobodys_or_elsewhere")
class ElsewhereIsFree(parts.Addresses):
    async def may_send_as(self, account, sender):
        return sender.domain != "example.org" or await super().may_send_as(account, sender)


@breaks("strange_addresses_are_answered", "strange_addresses_are_nobodys")
class ChokesOnQuotes(parts.Addresses):
    async def lookup(self, address):
        if "'" in address.local:
            raise RuntimeError("syntax error")
        return await super().lookup(address)


@breaks("strange_addresses_are_answered")
class AnswersWithText(parts.Addresses):
    async def lookup(self, address):
        return "joe@example.org" if address.local == "*" else await super().lookup(address)


@breaks("strange_addresses_are_nobodys", "an_address_that_only_looks_like_an_accounts_is_not_his")
class KnowsPatterns(parts.Addresses):
    async def lookup(self, address):
        return await super().lookup(Address(address.local.replace("*", "") or "joe", address.domain))


@breaks("an_address_that_only_looks_like_an_accounts_is_not_his")
class StripsAndDots(parts.Addresses):
    async def lookup(self, address):
        return await super().lookup(Address(address.local.strip(" ."), address.domain))


@breaks("nobody_sends_as_a_strange_address")
class StarSendsAsAll(parts.Addresses):
    async def may_send_as(self, account, sender):
        return account == "*" or await super().may_send_as(account, sender)


@breaks("of_many_at_once_each_gets_his_own_answer")
class LooksUpTheLast(parts.Addresses):
    async def lookup(self, address):
        self.wanted = address
        await later(0)
        return await super().lookup(self.wanted)


@breaks("while_addresses_are_looked_up_nobody_is_held_up")
class AsksInTheReactor(parts.Addresses):
    async def lookup(self, address):
        time.sleep(0.05)
        return await super().lookup(address)


@breaks("one_who_gives_up_is_in_nobodys_way")
class NeverReleased(parts.Addresses):
    is_busy = False

    async def lookup(self, address):
        while self.is_busy:
            await later(0.01)
        self.is_busy = True
        await later(0.01)
        self.is_busy = False
        return await super().lookup(address)


@breaks("made_again_it_answers_the_same")
class OnlyOne(parts.Addresses):
    def __init__(self, place):
        super().__init__(place)
        place.ones = getattr(place, "ones", 0) + 1
        self.is_second = place.ones > 1

    async def lookup(self, address):
        return None if self.is_second else await super().lookup(address)


@breaks("made_again_it_answers_the_same")
class ClosesTheOthers(parts.Addresses):
    def close(self):
        self.place.is_lost = True


@breaks("without_what_it_stands_on_nobody_is_told_that_he_is_unknown")
class EmptyWithoutAFile(parts.Addresses):
    async def lookup(self, address):
        return None if self.place.is_lost else await super().lookup(address)
